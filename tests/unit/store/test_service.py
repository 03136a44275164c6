"""The store with its threads and a real reactor, and a process that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile

import pytest
from twisted.internet import reactor
from twisted.internet.defer import gatherResults, inlineCallbacks
from twisted.trial.unittest import TestCase

from sbc.sip.errors import RemoteError
from sbc.store import Secret, SecretError, Store, queries, service
from sbc.store.journal import SaveSetting
from sbc.store.operations import SaveRegistration
from sbc.store.worker import Worker

from .conftest import Database, empty


def setting(name: str) -> SaveSetting:
    return SaveSetting(name=name, value="v", changed_at=1.0, changed_by="")


class Threads:
    """What both engines do; `url` is theirs."""

    url: str
    store: Store

    def begin(self) -> None:
        self.store = self.open()
        self.store.startService()
        self.addCleanup(self.store.stopService)

    def open(self) -> Store:
        return Store(reactor, self.url, Secret(b"k" * 32))

    @inlineCallbacks
    def test_what_was_written_is_read(self):
        yield gatherResults([self.store.write(setting(f"s{n}")) for n in range(1000)])
        found = yield self.store.read(queries.settings)
        self.assertEqual(len(found), 1000)
        self.assertEqual((yield self.store.report(queries.settings)), found)
        self.assertEqual(self.store.waiting, (0, 0, 0))

    @inlineCallbacks
    def test_a_failing_query_fails_its_own_deferred_only(self):
        broken = self.store.read(lambda connection: 1 // 0)
        fine = self.store.read(queries.settings)
        yield self.assertFailure(broken, Exception)
        self.assertEqual((yield fine), [])

    @inlineCallbacks
    def test_stopping_commits_what_is_queued_and_a_second_start_finds_it(self):
        written = [self.store.write(setting(f"s{n}")) for n in range(500)]
        yield self.store.stopService()
        self.assertTrue(all(each.called for each in written))
        yield self.assertFailure(self.store.write(setting("late")), RemoteError)
        again = self.open()
        again.startService()
        self.addCleanup(again.stopService)
        self.assertEqual(len((yield again.read(queries.settings))), 500)

    @inlineCallbacks
    def test_another_key_is_refused_at_the_start(self):
        yield self.store.write(SaveRegistration(username="a", domain="x", upper="p", at=1.0, ha1="1" * 32))
        yield self.store.stopService()
        other = Store(reactor, self.url, Secret(b"o" * 32))
        self.assertRaisesRegex(SecretError, "forget_secrets.sql", other.startService)

    @inlineCallbacks
    def test_a_cancelled_write_is_written_all_the_same(self):
        cancelled = self.store.write(setting("a"))
        cancelled.cancel()
        cancelled.addErrback(lambda _: None)
        yield self.store.write(setting("b"))
        self.assertEqual(len((yield self.store.read(queries.settings))), 2)


class SqliteTests(Threads, TestCase):
    """One file each."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = directory.name
        self.url = f"sqlite:///{self.path}/deeper/sbc.db"
        self.begin()

    def test_only_the_owner_may_read_the_file(self):
        self.assertEqual(os.stat(f"{self.path}/deeper/sbc.db").st_mode & 0o777, 0o600)


class PostgresqlTests(Threads, TestCase):
    """One server, emptied before each."""

    @pytest.fixture(autouse=True)
    def _server(self, server_database: Database) -> None:
        empty(server_database)
        self.url = server_database.url

    def setUp(self) -> None:
        self.begin()


class FullQueueTests(TestCase):
    """A queue has an end."""

    @inlineCallbacks
    def test_more_than_the_limit_is_refused_and_fits_again_later(self):
        worker = Worker("w", lambda jobs: jobs, reactor.callFromThread, batch=2, limit=3)
        self.assertEqual(self.failureResultOf(worker.give(0), RemoteError).value.status, 503)
        worker.start()
        kept = [worker.give(n) for n in range(3)]
        self.assertEqual(self.failureResultOf(worker.give(3), RemoteError).value.reason, b"Database Busy")
        self.assertEqual((yield gatherResults(kept)), [0, 1, 2])
        self.assertEqual((yield worker.give(4)), 4)
        yield worker.stop()
        self.assertEqual(self.failureResultOf(worker.give(5), RemoteError).value.reason, b"Database Stopped")

    def test_limits_are_named(self):
        self.assertGreater(service.WRITES_WAITING, service.REPORTS_WAITING)


CHILD = """
import sys
from twisted.internet import reactor
from sbc.store import Secret, Store
from sbc.store.journal import SaveSetting

store = Store(reactor, sys.argv[1], Secret(b"k" * 32))
count = 0

def write(_=None):
    global count
    count += 1
    name = f"s{count}"
    written = store.write(SaveSetting(name=name, value="v", changed_at=1.0, changed_by=""))
    written.addCallback(lambda _: (sys.stdout.write(name + "\\n"), sys.stdout.flush(), write()))

def go():
    store.startService()
    for _ in range(20):
        write()

reactor.callWhenRunning(go)
reactor.run()
"""


def test_a_killed_process_loses_nothing_it_was_told_is_stored(database: Database) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, database.url], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    told = [child.stdout.readline().strip() for _ in range(100)]
    os.kill(child.pid, signal.SIGKILL)
    told += child.stdout.read().split("\n")[:-1]
    child.wait()
    stored = {name for name, _ in database.read(queries.settings)}
    assert len(told) >= 100
    assert set(told) <= stored
