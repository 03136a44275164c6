"""Many registrations, kept alive by one node: nobody is forgotten, and nothing comes in bursts."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from types import SimpleNamespace

from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sbc.sip.build import respond
from sbc.sip.digest import Challenge, Credentials, ha1
from sbc.sip.uri import Uri
from sbc.store.records import UpperRegistration, User
from sbc.transaction.identifiers import Identifiers
from sbc.upper.refresher import POLL, Pace, Refresher
from sbc.upper.servers import UpperServer, UpperServers

REALM = "pbx.example.com"
RATE = 50


def server(name, priority):
    return UpperServer(name, Uri.parse(b"sip:192.0.2.1"), REALM.encode(), priority, 1, ())


class Table:
    """The ledger: registrations by the time at which they are due."""

    def __init__(self, count, upper, next_at):
        self.heap = [(next_at(number), number) for number in range(count)]
        heapq.heapify(self.heap)
        self.rows = {
            number: UpperRegistration(id=number + 1, upper=upper, contact=f"sip:t{number}@192.0.2.9:5060", call_id="c")
            for number in range(count)
        }
        self.standings = []

    def due(self, now_at, limit, lease):
        found = []
        while self.heap and self.heap[0][0] <= now_at and len(found) < limit:
            number = heapq.heappop(self.heap)[1]
            name = f"user{number}"
            user = User(
                id=number + 1, username=name, domain=REALM, upper="a", realm=REALM, ha1=ha1(name, REALM, "secret")
            )
            found.append((user, self.rows[number]))
        return succeed(found)

    def stand(self, user, row, standing, now_at):
        number = row.id - 1
        self.rows[number] = UpperRegistration(
            id=row.id,
            upper=row.upper,
            contact=row.contact,
            call_id="c",
            cseq=standing.cseq,
            failures=standing.failures,
            nonce=row.nonce,
        )
        self.standings.append((now_at, standing.state, row.upper))
        if standing.next_at is not None:
            heapq.heappush(self.heap, (standing.next_at, number))


class Wire:
    """Stands for the driver, the ways and the upper servers behind them: answers at once, and challenges once."""

    def __init__(self, clock):
        self.clock = clock
        self.sent = Counter()
        self.challenged = 0
        self.dead = set()
        self.listener = SimpleNamespace(transport=b"UDP", uri_host=b"192.0.2.9:5060")

    def flow(self, server):
        return succeed(SimpleNamespace(listener=self.listener, server=server))

    def carry(self, request, flow, then):
        then(flow)

    def send(self, request, flow, client, retry):
        second = int(self.clock.seconds())
        if flow.server.name in self.dead:
            client.timed_out(None, 0.0)
            return
        if not request.has(b"authorization"):
            self.challenged += 1
            challenge = Challenge(realm=REALM.encode(), nonce=b"n%d" % self.challenged, qop=("auth",))
            answer = respond(request, 401, headers=[(b"WWW-Authenticate", challenge.render())])
        else:
            Credentials.parse(request.first(b"authorization"))
            self.sent[second] += 1
            answer = respond(request, 200, headers=[(b"Expires", b"3600")])
        client.received(None, answer, 0.0)


class ManyRegistrations(SynchronousTestCase):
    def begin(self, count, next_at, upper="a"):
        self.clock = Clock()
        self.wire = Wire(self.clock)
        self.servers = UpperServers([server("a", 0), server("b", 10)])
        watch = SimpleNamespace(
            servers=self.servers,
            ways=self.wire,
            served=lambda server, status, flow=None: None,
            silent=lambda server, why, flow=None: None,
            down=lambda server: server.name in self.wire.dead,
        )
        down = self.wire.dead
        router = SimpleNamespace(
            registrars=lambda found, username, domain: SimpleNamespace(
                servers=tuple(sorted(self.servers.fellows(found), key=lambda each: (each.name in down, each.priority)))
            )
        )
        chance = random.Random(1)
        numbers = itertools.count(1)
        self.table = Table(count, upper, next_at)
        self.refresher = Refresher(
            ledger=self.table,
            driver=self.wire,
            watch=watch,
            router=router,
            restore=lambda name, domain: None,
            identifiers=Identifiers(lambda size: next(numbers).to_bytes(size, "big")),
            pace=lambda: Pace(rate=RATE, expires=3600, longest=3600.0, patience=4.0),
            call_later=self.clock.callLater,
            uniform=chance.random,
            clock_at=self.clock.seconds,
        )

    def run_for(self, seconds):
        for _ in range(int(seconds / POLL)):
            self.refresher.tick()
            for _ in range(5):
                self.clock.advance(POLL / 5)

    def test_after_a_restart_what_is_overdue_comes_at_the_rate_that_is_set_and_evenly(self):
        self.begin(1000, lambda number: -3600.0)
        self.run_for(30)
        self.assertEqual(sum(self.wire.sent.values()), 1000)
        full = [self.wire.sent[second] for second in range(1, 18)]
        self.assertTrue(all(RATE * 0.9 <= count <= RATE * 1.1 for count in full), full)

    def test_hours_in_the_life_of_registrations(self):
        self.begin(100, lambda number: number * 36.0)
        self.run_for(4 * 3600)
        refreshes = len(self.table.standings)
        self.assertEqual({state for _, state, _ in self.table.standings}, {"registered"})
        self.assertTrue(400 <= refreshes <= 560, refreshes)
        self.assertEqual(self.wire.challenged, 100, "each is challenged once: nonces are used again")
        self.assertEqual(self.refresher.running, 0)
        last = Counter(int(at // 600) for at, _, _ in self.table.standings if at > 2 * 3600)
        self.assertLess(max(last.values()), 2.5 * min(last.values()), "never in bursts")

    def test_an_outage_of_one_server_and_its_end(self):
        self.begin(60, lambda number: number * 10.0)
        self.wire.dead.add("a")
        self.run_for(900)
        self.assertEqual({(state, upper) for _, state, upper in self.table.standings}, {("registered", "b")})
        self.wire.dead.clear()
        before = len(self.table.standings)
        self.run_for(3600)
        self.assertEqual({(state, upper) for _, state, upper in self.table.standings[before:]}, {("registered", "a")})

    def test_an_outage_of_all_ends_for_everybody_within_a_quarter_of_an_hour(self):
        self.begin(60, lambda number: 0.0)
        self.wire.dead.update(("a", "b"))
        self.run_for(2 * 3600)
        self.assertEqual({state for _, state, _ in self.table.standings}, {"failing"})
        self.wire.dead.clear()
        before = len(self.table.standings)
        self.run_for(920)
        back = self.table.standings[before:]
        self.assertEqual(len(back), 60)
        self.assertEqual({state for _, state, _ in back}, {"registered"})
        self.assertGreater(len({int(at // 30) for at, _, _ in back}), 5, "not all at once")

    def test_no_more_than_one_refresh_of_a_registration_at_a_time(self):
        self.begin(1, lambda number: 0.0)
        user = User(username="user0", domain=REALM, upper="a")
        row = self.table.rows[0]
        self.refresher._running[row.id] = []
        self.refresher.refresh(user, row)
        self.assertEqual(self.table.standings, [])

    def test_a_server_that_nobody_knows_any_more(self):
        self.begin(1, lambda number: 0.0, upper="gone")
        self.run_for(2)
        self.assertEqual(self.table.standings[0][1:], ("registered", "a"), "who serves its domain now")
        self.servers.configure([])
        self.refresher.refresh(User(username="user0", domain=REALM, upper="a"), self.table.rows[0])
        self.assertEqual(self.table.standings[-1][1], "failing")

    def test_a_registration_that_is_moved_for_a_call_is_back_soon_where_it_belongs(self):
        self.begin(1, lambda number: 10.0**6)
        user = User(username="user0", domain=REALM, upper="a", realm=REALM, ha1=ha1("user0", REALM, "secret"))
        told = []
        self.refresher.move(user, self.table.rows[0], self.servers["b"]).addCallback(told.append)
        self.clock.advance(0)
        self.assertEqual(told, [None])
        self.assertEqual(self.table.standings[-1][1:], ("registered", "b"))
        self.run_for(400)
        self.assertEqual(self.table.standings[-1][1:], ("registered", "a"), "which nobody had found to be down")

    def test_moves_count_in_the_pace(self):
        self.begin(3 * RATE, lambda number: 0.0)
        users = [User(username=f"user{number}", domain=REALM, upper="a") for number in range(2 * RATE)]
        for number, user in enumerate(users):
            self.refresher.move(user, self.table.rows[number], self.servers["b"])
        self.assertEqual(len(self.table.standings), RATE * POLL, "the others go as they are")

    def test_who_takes_no_registrations_of_a_user_is_asked_for_none(self):
        self.begin(1, lambda number: 0.0)
        user = User(username="user0", domain=REALM, upper="a")
        told = []
        self.refresher.move(user, self.table.rows[0], server("trunk", 0)).addCallback(told.append)
        self.assertEqual((told, self.table.standings), ([None], []))
