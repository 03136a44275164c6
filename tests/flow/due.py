"""Registrations at the upper server that fall due when a test says so: no interval is so short that a stall ends it."""

from __future__ import annotations

import sqlite3
from typing import Any

from twisted.internet.defer import inlineCallbacks

from sbc import assembly
from sbc.upper import refresher
from tests.flow.scene import FlowCase, until
from tests.flow.waits import PATIENCE


class Due(FlowCase):
    """Bob's registration; it is looked for ten times a second."""

    def setUp(self) -> None:
        self.patch(refresher, "POLL", 0.1)
        self.patch(assembly, "POLL", 0.1)

    def change(self, statement: str, *parameters: object) -> None:
        """The operator changes the database beside the SBC."""
        with sqlite3.connect(self.world.border.database, timeout=PATIENCE) as database:
            database.execute(statement, parameters)

    def fall_due(self, **more: object) -> None:
        """Every registration is to be refreshed now; `more` columns are set with it."""
        columns = ["next_at = 1", *(f"{name} = ?" for name in more)]
        self.change(f"update upper_registrations set {', '.join(columns)}", *more.values())

    def row(self) -> Any:
        """The registration in the database."""
        [row] = self.rows("select * from upper_registrations")
        return row

    def state(self) -> tuple[str, int, int]:
        """How it stands: state, last code, failures."""
        row = self.row()
        return row["state"], row["last_code"], row["failures"]

    @inlineCallbacks
    def refreshed(self, count: int = 1) -> Any:
        """It falls due, and is refreshed or not, by `count` REGISTERs at least: how it stands then."""
        before = len(self.upper.saw("REGISTER"))
        self.fall_due()
        yield until(lambda: len(self.upper.saw("REGISTER")) >= before + count, f"{count} REGISTERs")
        yield until(lambda: not self.sbc.refresher.running, "the end of it")
        yield self.written()
        return self.row()
