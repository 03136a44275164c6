"""Writes what is generated: from the declarations of the settings the reference page and the example configuration,
from the sources the page of limits."""

from __future__ import annotations

import runpy
from pathlib import Path

from sbc.sections import SECTIONS
from sbc.settings import example, reference

ROOT = Path(__file__).resolve().parent.parent

FIRST_START = """\
# The configuration of the SBC. Every setting is here, commented out at its default; docs/configuration.rst is the same
# as a page. `twistd -n sbc --config etc/sbc.toml --check` reports every mistake. SIGHUP takes over most changes.

[[listen]]
uri = "udp:0.0.0.0:5060"

[[listen]]
uri = "tcp:0.0.0.0:5060"
"""


def pages() -> dict[Path, str]:
    """Each generated file and what is to stand in it."""
    return {
        ROOT / "docs" / "configuration.rst": reference(SECTIONS),
        ROOT / "docs" / "limits.rst": runpy.run_path(str(ROOT / "docs" / "limits.py"))["page"](),
        ROOT / "etc" / "sbc.toml": example(SECTIONS, given=FIRST_START),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
