"""The world of the relay as a fixture."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.media.relay_world import World, world


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """All relays here lend the same ports of one address in the same order, and count those that are left: one test at
    a time on a machine, whoever else runs these tests."""
    with (Path(tempfile.gettempdir()) / f"sbc-test-relay.{os.getuid()}").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@pytest.fixture
def relay() -> Iterator[World]:
    with world() as made:
        yield made
