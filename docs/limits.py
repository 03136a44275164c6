"""Finds every limit of the product where it stands, with its unit and its reason, for the page `limits.rst`."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from pathlib import Path

from sbc.sections import SECTIONS
from sbc.settings.declare import section_info

ROOT = Path(__file__).resolve().parent.parent
LIMIT = re.compile(
    r"(^|_)(MAX|MOST|LIMIT|BYTES|WAITING|CONNECTS|WAITERS|SOURCES|KEYS|FLOWS|ANSWERS|REMEMBERED|BACKLOG)(_|$)"
)
"""Names of constants that bound how much of something there may be."""
WHOLE = ("transport/limits.py", "sip/limits.py")
"""Files in which every constant is a limit."""
SKIPPED = {"lab", "migrations"}
"""The laboratory is no part of what runs; migrations are history."""

INTRODUCTION = """\
Limits
======

Nothing here grows for ever: every buffer, table, queue and wait has a bound, with a reason. What is above a bound is
refused, dropped or forgotten as the text says, never cut short silently. This page is generated from the sources.

Limits that are settings
------------------------

.. list-table::
   :header-rows: 1
   :widths: 34 14 52

   * - Setting
     - Default
     - Meaning
"""

CONSTANTS = """
Limits that are fixed
---------------------

"""

SETTINGS = [
    "transport.connections",
    "transport.connections_per_source",
    "transport.handshakes",
    "transport.handshake_timeout",
    "transport.first_message",
    "transport.partial_message",
    "transport.idle",
    "transport.connect_timeout",
    "transport.datagram_request",
    "security.source_rate",
    "security.source_burst",
    "security.ringing_per_source",
    "security.ban_score",
    "security.ban_time",
    "security.ban_longest",
    "proxy.transactions",
    "proxy.max_wait_message",
    "push.max_wait",
    "push.max_invites",
    "push.client_max_offline_days",
    "registrar.refresh_rate",
    "media.ports",
    "media.timeout",
    "routing.failover_after",
]
"""Settings that bound something, in the order in which a message meets them."""


def page() -> str:
    """The whole page."""
    return INTRODUCTION + "".join(_settings()) + CONSTANTS + "".join(_constants())


def _settings() -> Iterator[str]:
    known = {f"{info.name}.{each.name}": each for info in map(section_info, SECTIONS) for each in info}
    for name in SETTINGS:
        each = known[name]
        yield f"   * - ``{name}``\n     - {each.kind.show(each.default_value())}\n     - {_plain(each.doc)}\n"


def _plain(text: str) -> str:
    """A text of the sources as reStructuredText."""
    return re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", text.replace("*", r"\*"))


def _constants() -> Iterator[str]:
    room = ""
    for path in sorted((ROOT / "sbc").rglob("*.py")):
        if SKIPPED & set(path.parts):
            continue
        found = list(limits(path))
        if not found:
            continue
        where = path.relative_to(ROOT / "sbc")
        if where.parts[0] != room:
            room = where.parts[0]
            yield f"{room.removesuffix('.py')}\n{'~' * len(room.removesuffix('.py'))}\n\n"
        for name, value, reason in found:
            shown = f"{value:,}" if isinstance(value, int) else f"{value:g}"
            yield f"``{name}`` = {shown} (``{where}``)\n    {_plain(reason)}\n\n"


def limits(path: Path) -> Iterator[tuple[str, int | float, str]]:
    """(name, value, reason) of the limits that stand in a file, in order; the reason is empty where none is given."""
    source = path.read_text()
    lines, body = source.splitlines(), ast.parse(source).body
    whole = str(path).endswith(WHOLE)
    for node, after in zip(body, [*body[1:], None], strict=True):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(target, ast.Name) or node.value is None:
            continue
        name, value = target.id, _number(node.value)
        if value is None or not name.isupper() or name.startswith("_") or not (whole or LIMIT.search(name)):
            continue
        yield name, value, " ".join(_reason(node, after, lines).split())


def _number(node: ast.expr) -> int | float | None:
    """The value of a numeric expression of literals."""
    try:
        value = eval(compile(ast.Expression(node), "", "eval"), {"__builtins__": {}})  # noqa: S307 - our own source
    except Exception:  # noqa: BLE001 - it names something: no literal
        return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def _reason(node: ast.stmt, after: ast.stmt | None, lines: list[str]) -> str:
    """The text behind a constant, or the comment in front of it."""
    if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
        return after.value.value
    said: list[str] = []
    at = node.lineno - 2
    while at >= 0 and lines[at].startswith("#"):
        said.insert(0, lines[at].lstrip("#: "))
        at -= 1
    return " ".join(said) or lines[(node.end_lineno or node.lineno) - 1].partition("#")[2]
