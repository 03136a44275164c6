"""The SBC in the process of the tests, and the laboratory's world around it."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks, succeed

from sbc import assembly
from sbc.lab import world
from sbc.lab.border import Border
from sbc.lab.world import BORDER, World
from sbc.sections import SECTIONS
from sbc.settings import Configuration, load
from sbc.store.engine import open_engine
from sbc.store.migrate import upgrade

UDP_AWAKE = 60
"""Seconds that the SBC takes a silent UDP phone for awake; `FlowCase.unheard` makes them pass."""


class Inside:
    """The SBC in this process. Stands where the laboratory has its child process."""

    def __init__(self, directory: Path, text: str, admin: tuple[str, int], database: Path) -> None:
        self.path = directory / "sbc.toml"
        self.database = database
        self.web = f"http://{admin[0]}:{admin[1]}"
        self.output = ""
        self.running = False
        self._write(text)
        if not database.exists():
            database.write_bytes(migrated())
        self.sbc = assembly.Sbc(reactor, self.read(), self.read)
        # However busy the machine of the tests is: a node under high load pushes nobody.
        self.sbc.lag.lasting = lambda: 0.0  # type: ignore[method-assign]

    def read(self) -> Configuration:
        """The configuration as it stands in the file."""
        return load(self.path.read_text(encoding="utf-8"), SECTIONS, path=str(self.path))

    def rewrite(self, old: str, new: str) -> None:
        """The operator edits the file."""
        text = self.path.read_text(encoding="utf-8")
        assert old in text
        self._write(text.replace(old, new))

    def _write(self, text: str) -> None:
        self.path.write_text(text, encoding="utf-8")
        self.path.chmod(0o600)

    def start(self) -> Deferred[None]:
        """Listens when this fires."""
        self.sbc.privilegedStartService()
        self.sbc.startService()
        self.running = True
        return succeed(None)

    def stop(self) -> Deferred[Any]:
        """As SIGTERM does it; calls that are left get no time."""
        if not self.running:
            return succeed(None)
        self.running = False
        return self.sbc.stopService()

    metrics, rows = Border.metrics, Border.rows

    @property
    def reactor(self) -> Any:
        return reactor


@cache
def migrated() -> bytes:
    """An empty database with the newest schema: migrating one takes longer than most tests."""
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(f"sqlite:///{folder}/sbc.db")
        upgrade(engine)
        engine.dispose()
        return Path(folder, "sbc.db").read_bytes()


class Scene(World):
    """The laboratory's world around an SBC in this process. `changes`: texts of its configuration to be replaced."""

    def __init__(self, directory: Path, changes: dict[str, str], **options: Any) -> None:
        super().__init__(reactor, directory, **options)
        self.changes = changes

    def configuration(self, database: Path) -> str:
        text = super().configuration(database)
        for old, new in {f'udp_awake = "{world.UDP_AWAKE}s"': f'udp_awake = "{UDP_AWAKE}s"', **self.changes}.items():
            assert old in text, f"no {old!r} in the configuration"
            text = text.replace(old, new)
        return text if "\nengine = " in text else text.replace("[media]\n", '[media]\nengine = "inline"\n')

    @inlineCallbacks
    def restart(self, *, crash: bool = False) -> Any:
        """Stop it when it runs, and start it again on the same ports and database."""
        assert not crash, "only a child process can be killed"
        if self._border is not None:
            yield self._border.stop()
        database = self.directory / "sbc.db"
        text = self.configuration(database)
        self._border = Inside(self.directory, text, (BORDER, self.admin), database)
        yield self._border.start()
