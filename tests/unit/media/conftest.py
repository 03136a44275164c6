"""The world of the relay as a fixture."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from relay_world import World, world


@pytest.fixture
def relay() -> Iterator[World]:
    with world() as made:
        yield made
