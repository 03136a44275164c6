"""Ten thousand phones, two upper servers and an SBC without sockets, on a clock of their own: see `test_day`."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from types import SimpleNamespace

from sqlalchemy import event
from twisted.internet.defer import Deferred, succeed

from sbc.push.tokens import PushToken
from sbc.registrar.ledger import Ledger, LedgerRules
from sbc.sip.build import respond
from sbc.sip.digest import Challenge, Credentials, ha1, verify
from sbc.sip.uri import Uri
from sbc.store import Execute, Secret, queries
from sbc.store.engine import open_engine
from sbc.store.housekeeping import RemoveGoneUsers
from sbc.store.migrate import upgrade
from sbc.store.operations import SaveRegistration
from sbc.store.pacing import BringForward
from sbc.store.reader import Lookups
from sbc.store.records import Binding
from sbc.store.writer import Commits
from sbc.transaction.identifiers import Identifiers
from sbc.upper.refresher import Pace, Refresher
from sbc.upper.registration import refresh_at
from sbc.upper.servers import UpperServer, UpperServers

DOMAIN = "pbx.example.com"
USERS, RATE, GRANT = 10_000, 200, 28_800
STEP = 30.0
HOUR, DAY, MONTH = 3600.0, 86_400.0, 30 * 86_400.0
START = 1_800_000_000.0


class Books:
    """The store without its threads: what is asked for is done at the next `turn`."""

    def __init__(self, folder):
        engine = open_engine(f"sqlite:///{folder}/sbc.db")
        event.listen(engine, "connect", lambda connection, record: connection.execute("PRAGMA synchronous = OFF"))
        upgrade(engine)
        secret = Secret(b"k" * 32)
        self.commits, self.lookups = Commits(engine, secret), Lookups(engine, secret)
        self.queue = []

    def write(self, operation):
        done = Deferred()
        self.queue.append((operation, done))
        return done

    def turn(self):
        while self.queue:
            queue, self.queue = self.queue[:256], self.queue[256:]
            for result, (_, done) in zip(self.commits.work([each for each, _ in queue]), queue, strict=True):
                done.callback(result)

    def rows(self, sql, *values):
        return self.lookups.work([lambda connection: connection.exec_driver_sql(sql, values).all()])[0]

    def close(self):
        self.commits.done()
        self.lookups.done()


class Timeline:
    """A clock for ten thousand appointments: `task.Clock` sorts all of them for each one."""

    def __init__(self):
        self.now = 0.0
        self.calls = []
        self.order = itertools.count()

    def later(self, seconds, call, *arguments):
        heapq.heappush(self.calls, (self.now + seconds, next(self.order), call, arguments))

    def advance(self, seconds):
        end = self.now + seconds
        while self.calls and self.calls[0][0] <= end:
            self.now, _, call, arguments = heapq.heappop(self.calls)
            call(*arguments)
        self.now = end


class World:
    """The upper servers `a` and `b`, which share one table of who is where, and the phones."""

    def __init__(self, folder):
        self.time = Timeline()
        self.books = Books(folder)
        self.chance = random.Random(4)
        self.passwords = {f"u{number}": "secret" for number in range(USERS)}
        self.bound = {}  # user: when its registration ends
        self.lapsed = []  # (when, user) of those whose registration had ended before it was refreshed
        self.dead = set()
        self.least = 0
        self.accepted, self.answers = Counter(), Counter()
        self.pushed = Counter()
        self.nonces = itertools.count(1)
        self.told = {}  # what each app last said as its password
        self.listener = SimpleNamespace(transport=b"UDP", uri_host=b"192.0.2.9:5060")
        self.servers = UpperServers([server("a", 0), server("b", 10)])
        self.start_sbc()

    @property
    def now_at(self):
        return START + self.time.now

    # The SBC

    def start_sbc(self):
        """A new process finds what the old one left in the database."""
        numbers = itertools.count(1)
        rules = LedgerRules(node="edge", remove_rejected=True, max_offline=MONTH)
        self.refresher = Refresher(
            ledger=Ledger(
                self.books, lambda: rules, lambda user, row: self.push(user.username), lambda user, row: None
            ),
            driver=self,
            watch=SimpleNamespace(
                servers=self.servers, ways=self, served=lambda *seen: None, silent=lambda *seen: None
            ),
            router=SimpleNamespace(registrars=self.registrars),
            restore=lambda name, domain: None,
            identifiers=Identifiers(lambda size: next(numbers).to_bytes(size, "big")),
            pace=lambda: Pace(rate=RATE, expires=GRANT, longest=DAY, patience=4.0),
            call_later=self.time.later,
            uniform=self.chance.random,
            clock_at=lambda: self.now_at,
        )

    def registrars(self, found, username, domain):
        order = sorted(self.servers.fellows(found), key=lambda each: (each.name in self.dead, each.priority))
        return SimpleNamespace(servers=tuple(order))

    def move(self, name, after=0):
        """Registrations at this server would be better off elsewhere: as `Uppers.upper_changed` has it."""

        def again(after):
            if after:
                self.move(name, after)

        moved = BringForward(upper=name, at=self.now_at, over=STEP, after=after)
        self.books.write(moved).addCallback(again)

    # The upper servers

    def flow(self, server):
        return succeed(SimpleNamespace(listener=self.listener, server=server))

    def carry(self, request, flow, then):
        then(flow)

    def send(self, request, flow, client, retry):
        if flow.server.name in self.dead:
            self.answers["none"] += 1
            client.timed_out(None, 0.0)
            return
        response = self.answer(request)
        self.answers[response.status] += 1
        client.received(None, response, 0.0)

    def answer(self, request):
        user = request.to.uri.username
        asked = int(request.first(b"expires"))
        if asked < self.least:
            return respond(request, 423, headers=[(b"Min-Expires", b"%d" % self.least)])
        if user not in self.passwords:
            return respond(request, 404)
        if not self.proved(user, request.first(b"authorization")):
            challenge = Challenge(realm=DOMAIN.encode(), nonce=b"n%d" % next(self.nonces), qop=("auth",))
            return respond(request, 401, headers=[(b"WWW-Authenticate", challenge.render())])
        self.accepted[int(self.time.now)] += 1
        self.bind(user, asked)
        return respond(request, 200, headers=[(b"Expires", b"%d" % asked)])

    def proved(self, user, given):
        """Checked for those alone whose password changes: ten thousand digests a day take their time."""
        if given is None or user not in self.changed:
            return given is not None
        return verify(Credentials.parse(given), ha1(user, DOMAIN, self.passwords[user]), b"REGISTER")

    def bind(self, user, seconds):
        if self.bound.get(user, self.now_at) < self.now_at:
            self.lapsed.append((self.time.now, user))
        self.bound[user] = self.now_at + seconds

    # The phones

    def push(self, user):
        """A push that asks the app to register: four in five come within twenty seconds."""
        self.pushed[user] += 1
        if user not in self.silent and self.chance.random() < 0.8:
            self.time.later(20 * self.chance.random(), self.wake, user)

    def wake(self, user, *, token="", at=None):
        """An app registers, through the SBC, at the upper server."""
        if user not in self.passwords:
            return
        at = self.now_at if at is None else at
        self.told[user] = self.passwords[user]
        self.bind(user, GRANT)
        number = int(user[1:])
        self.tokens[user] = token or self.tokens.get(user) or f"t{number}"
        contact = f"sip:{number:024}@192.0.2.9:5060"
        binding = Binding(
            identity=f"i:{number}",
            contact=f"sip:{user}@198.51.100.7",
            transport="TLS",
            node="edge",
            expires_at=at + 600,
        )
        self.books.write(
            SaveRegistration(
                username=user,
                domain=DOMAIN,
                upper="a",
                held_by="b" if "a" in self.dead else "a",
                at=at,
                realm=DOMAIN,
                ha1=None if user in self.secretive else ha1(user, DOMAIN, self.told[user]),
                binding=binding,
                tokens=(PushToken("fcm", "com.example.phone", self.tokens[user]),),
                upper_contact=contact,
                upper_call_id=f"call-{user}",
                upper_expires_at=self.now_at + GRANT,
                next_at=refresh_at(GRANT, self.now_at, self.chance.random()),
                node="edge",
            )
        )

    def populate(self):
        names = list(self.passwords)
        self.chance.shuffle(names)
        self.secretive = set(names[:100])  # their apps send no HA1
        self.silent = set(names[100:110]) | set(names[:20])  # they come no more, whatever is pushed
        self.absent = names[110:310]  # not seen for four weeks and almost two days
        self.closed = names[310:360]  # accounts that are deleted
        self.changed = names[360:410]  # accounts with a new password
        self.tokens = {}
        for user in names:
            ago = MONTH - 6 * HOUR if user in self.absent else 0.0
            self.wake(user, at=START - ago)
        self.books.turn()
        spread = "update upper_registrations set next_at = next_at - (id * 7919 % 10000) * 2.7"
        self.books.commits.work([_statement(spread)])
        for user in names:
            if user not in self.silent and user not in self.absent:
                self.time.later(DAY * self.chance.random(), self.wake, user)

    # Time

    def run(self, hours, *, restarting=False):
        for _ in range(int(hours * HOUR / STEP)):
            if not restarting:
                self.refresher.tick()
            self.books.turn()
            for _ in range(3):
                self.time.advance(STEP / 3)
                self.books.turn()

    # What the database says

    def states(self):
        return dict(self.books.rows("select state, count(*) from upper_registrations group by state"))

    def count(self, where, *values):
        return self.books.rows(f"select count(*) from upper_registrations where {where}", *values)[0][0]

    def users_in(self, state):
        joined = "users join upper_registrations r on r.user_id = users.id"
        return {name for (name,) in self.books.rows(f"select username from {joined} where r.state = ?", state)}

    def subscriber(self, user):
        return self.books.lookups.work([lambda connection: queries.subscriber(connection, user, DOMAIN)])[0]

    def remove_gone(self):
        self.books.write(RemoveGoneUsers(self.now_at - MONTH))
        self.books.turn()


def server(name, priority):
    return UpperServer(name, Uri.parse(b"sip:192.0.2.1"), DOMAIN.encode(), priority, 1, ())


def _statement(sql):
    return Execute(lambda connection: connection.exec_driver_sql(sql) and None)
