"""Old rows go, a chunk at a time, every ten minutes."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from sbc.sip.errors import RemoteError
from sbc.store import DatabaseSettings, Operation
from sbc.store.housekeeping import CHUNK, Forget, RemoveGoneUsers
from sbc.store.upkeep import BREATH, EVERY, Upkeep

DAY = 86400.0


class Written:
    """A store that notes what it is told; `left` is how many rows of a table are too old."""

    def __init__(self) -> None:
        self.operations: list[Any] = []
        self.left = {"cdrs": 0}
        self.broken = False
        self.ends: list[int] = []

    def write(self, operation: Operation[Any]) -> Deferred[Any]:
        self.operations.append(operation)
        if self.broken:
            return fail(RemoteError(503))
        if not isinstance(operation, Forget):
            return succeed(self.ends.pop(0) if self.ends else 0)
        table = operation.table
        removed = min(CHUNK, self.left.get(table, 0))
        self.left[table] = self.left.get(table, 0) - removed
        return succeed(removed)

    def tables(self) -> list[str]:
        told, self.operations = self.operations, []
        return [each.table if isinstance(each, Forget) else "users" for each in told]


class UpkeepTests(TestCase):
    """With a clock of our own."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = Written()
        self.gone_after = 30 * DAY
        self.upkeep = Upkeep(
            self.clock,
            self.store,
            settings=lambda: DatabaseSettings(keep_events=0.0),
            gone_after=lambda: self.gone_after,
            utc=lambda: 1000 * DAY + self.clock.seconds(),
        )
        self.upkeep.startService()

    def test_every_ten_minutes_all_that_is_limited(self) -> None:
        self.assertEqual(self.store.tables(), [])
        for _ in range(2):
            self.clock.advance(EVERY)
            self.assertEqual(self.store.tables(), ["cdrs", "pushes", "messages", "bans", "users"])

    def test_ages_are_counted_from_now(self) -> None:
        self.clock.advance(EVERY)
        cdrs, *_, users = self.store.operations
        self.assertEqual(cdrs, Forget("cdrs", 910 * DAY + EVERY))
        self.assertEqual(users, RemoveGoneUsers(970 * DAY + EVERY))

    def test_many_rows_go_with_a_breath_between_the_chunks(self) -> None:
        self.store.left["cdrs"] = 2 * CHUNK + 5
        self.clock.advance(EVERY)
        self.assertEqual(self.store.tables(), ["cdrs"])
        self.clock.advance(BREATH)
        self.assertEqual(self.store.tables(), ["cdrs"])
        self.clock.advance(BREATH)
        self.assertEqual(self.store.tables(), ["cdrs", "pushes", "messages", "bans", "users"])

    def test_users_are_looked_through_a_span_at_a_time(self) -> None:
        self.store.ends = [20_000, 20_000, 0]
        self.clock.advance(EVERY)
        self.clock.advance(BREATH)
        self.clock.advance(BREATH)
        looked = [each.after for each in self.store.operations if isinstance(each, RemoveGoneUsers)]
        self.assertEqual(looked, [0, 20_000, 20_000])
        self.clock.advance(EVERY)
        self.assertEqual(self.store.operations[-1].after, 0)

    def test_users_may_stay_away_for_ever(self) -> None:
        self.gone_after = 0.0
        self.clock.advance(EVERY)
        self.assertNotIn("users", self.store.tables())

    def test_a_database_that_is_away_is_tried_again_later(self) -> None:
        self.store.broken = True
        self.clock.advance(EVERY)
        self.assertEqual(self.store.tables(), ["cdrs"])
        self.assertEqual(len(self.flushLoggedErrors(RemoteError)), 1)
        self.store.broken = False
        self.clock.advance(EVERY)
        self.assertEqual(len(self.store.tables()), 5)

    def test_nothing_happens_after_the_stop(self) -> None:
        self.upkeep.stopService()
        self.clock.advance(2 * EVERY)
        self.assertEqual(self.store.tables(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
