"""The reactor as programs on one of the machines have it."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor

from tests.kernel.wires import Wires

_OPENING = frozenset({"listenUDP", "listenTCP", "connectTCP", "spawnProcess"})


class On:
    """The reactor, but what it opens or starts is on this machine."""

    def __init__(self, wires: Wires, machine: str) -> None:
        self._wires = wires
        self._machine = machine

    def __getattr__(self, name: str) -> Any:
        found = getattr(reactor, name)
        return self._there(found) if name in _OPENING else found

    def _there(self, do: Any) -> Any:
        def there(*arguments: Any, **more: Any) -> Any:
            with self._wires.inside(self._machine):
                return do(*arguments, **more)

        return there
