"""What is written for people is true: generated pages are fresh, the README's commands exist, the example loads."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import docutils.core
import pytest

from sbc.sections import SECTIONS
from sbc.settings import load

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES: dict[Path, str] = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_generated_pages_are_fresh(path: Path):
    fresh = path.read_text() == PAGES[path]
    assert fresh, "run: make reference"


def test_every_limit_has_a_reason():
    limits = runpy.run_path(str(ROOT / "docs" / "limits.py"))["limits"]
    files = [path for path in (ROOT / "sbc").rglob("*.py") if not {"lab", "migrations"} & set(path.parts)]
    found = [(path.name, name, reason) for path in files for name, _, reason in limits(path)]
    assert len(found) > 100
    assert [(file, name) for file, name, reason in found if not reason] == []


def test_the_example_configuration_loads():
    text = (ROOT / "etc" / "sbc.toml").read_text()
    load(text, SECTIONS, path="etc/sbc.toml")


@pytest.mark.parametrize("command", ["make demo", "make run", "make test"])
def test_the_readme_shows_the_commands_in_blocks_of_their_own(command: str):
    assert f"::\n\n    {command}\n\n" in (ROOT / "README.rst").read_text()
    target = command.split()[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_continuous_integration_runs_the_command_of_the_readme():
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "exec make test"


def test_the_readme_is_valid():
    settings = {"report_level": 2, "halt_level": 2, "warning_stream": False}
    docutils.core.publish_string((ROOT / "README.rst").read_text(), writer="null", settings_overrides=settings)


def test_every_room_stands_in_the_readme():
    readme = (ROOT / "README.rst").read_text()
    rooms = [path.parent.name for path in (ROOT / "sbc").glob("*/__init__.py")]
    assert rooms
    assert [room for room in rooms if f"``sbc/{room}``" not in readme] == []


def test_the_tests_that_the_rules_of_sending_name_are_there():
    named = re.findall(r"``([\w/]+)::(\w+)``", (ROOT / "docs" / "sending.rst").read_text())
    assert len(named) > 50
    for path, name in named:
        assert f"def {name}(" in (ROOT / "tests" / f"{path}.py").read_text(), f"{path}::{name}"
