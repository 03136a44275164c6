"""What every test gets: one hypothesis profile, and no bytes left behind in the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from twisted.trial.unittest import TestCase

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile(
    "sbc",
    deadline=None,  # a shared machine is slow now and then; that is no finding
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
# The same examples in every run of continuous integration: a failure there can be repeated.
settings.register_profile("ci", settings.get_profile("sbc"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "sbc")


@pytest.fixture(autouse=True, scope="session")
def _trial_files_outside_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> None:
    """`TestCase.mktemp` makes its folders below the working directory under trial; under pytest they go elsewhere."""
    TestCase.mktemp = lambda self: str(tmp_path_factory.mktemp(type(self).__name__) / "file")  # type: ignore[method-assign]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: who broke a pure module hears of it before the first program is started."""
    order = {"unit": 0, "torture": 1, "kernel": 2, "flow": 2, "security": 2, "long": 2, "peers": 3}

    def place(item: pytest.Item) -> int:
        parts = item.path.relative_to(ROOT / "tests").parts if item.path.is_relative_to(ROOT / "tests") else ("",)
        return order.get(parts[0], 0)

    items.sort(key=place)
