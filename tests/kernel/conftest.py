"""Machines, and a relay whose flows the kernel forwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sbc.media import kernel
from sbc.media.kernel import bpffs
from sbc.media.kernel.offload import KernelOffload
from sbc.media.offload import Counts, Flow, UnavailableError
from tests.kernel.stream import Stream, Streams
from tests.kernel.wires import Wires
from tests.peers.program import unavailable


@pytest.fixture
def wires() -> Iterator[Wires]:
    made = Wires()
    yield made
    made.close()


@pytest.fixture
def load(wires: Wires, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., KernelOffload]]:
    """Loads the program on the relay's machine, for the node whose state is in `tmp_path`."""
    loaded: list[KernelOffload] = []

    def load(**options: bool) -> KernelOffload:
        try:
            with wires.inside("r"):
                loaded.append(kernel.load(str(tmp_path), keep_privileges=True, **options))
        except UnavailableError as why:
            unavailable(f"no forwarding in the kernel: {why}")
        look = loaded[-1].look

        def there() -> Iterable[tuple[Flow, Counts]]:
            with wires.inside("r"):  # a new interface is one of that machine
                return look()

        monkeypatch.setattr(loaded[-1], "look", there)
        return loaded[-1]

    yield load
    for each in loaded:
        each.close()
    shutil.rmtree(bpffs.directory(str(tmp_path)), ignore_errors=True)


@pytest.fixture
def possible(wires: Wires, tmp_path: Path) -> None:
    """The kernel forwards here at all: for tests that let another process load the program."""
    try:
        with wires.inside("r"):
            kernel.load(str(tmp_path), keep_privileges=True).close()
    except UnavailableError as why:
        unavailable(f"no forwarding in the kernel: {why}")


@pytest.fixture
def offload(load: Callable[..., KernelOffload]) -> KernelOffload:
    return load()


@pytest.fixture
def streams(wires: Wires) -> Iterator[Streams]:
    """Phones and the relay's ports, closed with the test."""
    made: list[Stream] = []

    def stream(family: int = 4, **more: Any) -> Stream:
        made.append(Stream(wires, family, **more))
        return made[-1]

    yield stream
    for each in made:
        each.close()
