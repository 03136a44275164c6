"""The world of the relay as a fixture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.media.relay_world import World, world


@pytest.fixture
def relay() -> Iterator[World]:
    with world() as made:
        yield made
