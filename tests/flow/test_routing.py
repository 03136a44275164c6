"""Rules, servers that clients choose, calls that stay here."""

from __future__ import annotations

import sqlite3

import treq
from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks

from sbc import uppers
from sbc.lab.upper import Reply, Upper
from tests.flow.scene import DOMAIN, USERS, FlowCase, until
from tests.flow.waits import PATIENCE

ELSEWHERE = "127.0.0.5"


class Routed(FlowCase):
    @inlineCallbacks
    def other(self, domain="trunk.example.net", **more):
        """A second server, for another domain."""
        self.trunk = Upper(reactor, host=ELSEWHERE, users=USERS, domain=domain, **more)
        yield self.trunk.start()
        self.addCleanup(lambda: self.trunk.stop())
        return f'name = "trunk"\nuri = "{self.trunk.uri}"\ndomain = "{domain}"\npriority = 5'

    def write(self, statement, *values):
        """An operator at the database."""
        with sqlite3.connect(self.world.border.database, timeout=PATIENCE) as database:
            database.execute(statement, values)


class Rules(Routed):
    @inlineCallbacks
    def test_a_number_goes_to_the_trunk_in_its_own_form(self):
        entry = yield self.other()
        rule = 'name = "abroad"\ncalled = ["00*"]\nupper = ["trunk"]\nrewrite = "+{1}"'
        yield self.begin(**{"[upper]": entry, "[route]": rule})
        self.trunk.answering["+4930123456"] = 0.05
        self.upper.answering["echo"] = 0.05
        phone = yield self.awake()
        call = phone.call("004930123456")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        [seen] = self.trunk.saw("INVITE")
        self.assertEqual(seen.request.uri, b"sip:+4930123456@trunk.example.net")
        yield call.hang_up()
        [cdr], told = yield self.record(call)
        self.assertEqual(cdr["upper"], "trunk")
        self.in_order(told, "routed", "delivered", "answered")

        call = phone.call("echo")
        status = yield self.final(call)
        self.assertEqual((status, len(self.upper.saw("INVITE"))), (200, 1))

    @inlineCallbacks
    def test_the_caller_gets_another_name_too(self):
        rule = (
            'name = "abroad"\ncaller = ["/b(o)b/"]\ncalled = ["/00(49)([0-9]+)/"]\n'
            'rewrite = "+{1}{2}"\nrewrite_caller = "+{called.1}55{1}"'
        )
        yield self.begin(**{"[route]": rule})
        self.upper.answering["+4930123456"] = 0.05
        phone = yield self.awake()
        said = [(b"p-preferred-identity", b"<sip:bob@pbx.example.com>"), (b"diversion", b"<sip:bob@pbx.example.com>")]
        call = phone.call("004930123456", headers=said)
        status = yield self.final(call)
        self.assertEqual(status, 200)
        [seen] = self.upper.saw("INVITE")
        self.assertEqual(seen.request.parsed_uri.username, "+4930123456")
        self.assertEqual(seen.request.from_.uri.username, "+4955o")
        self.assertEqual(seen.request.lines(b"p-preferred-identity"), [b"<sip:+4955o@pbx.example.com>"])
        self.assertEqual(seen.request.lines(b"diversion"), [said[1][1]])

        response = yield call.ask(b"INFO", (b"p-asserted-identity", b"<sip:bob@pbx.example.com>"))
        self.assertEqual((response.status, response.from_.uri.username), (200, "bob"))
        [seen] = self.upper.saw("INFO")
        self.assertEqual(seen.request.from_, self.upper.saw("INVITE")[0].request.from_, "the same to the end")
        self.assertEqual(seen.request.lines(b"p-asserted-identity"), [b"<sip:+4955o@pbx.example.com>"])
        response = yield self.upper.calls[-1].ask(b"INFO")
        self.assertEqual((response.status, response.to.uri.username), (200, "+4955o"))
        self.assertEqual(phone.saw("INFO")[0].request.to.uri.username, "bob", "its own name")

        self.sbc.calls.end_all("the operator ends it")
        yield self.happened(self.upper.calls[-1].diary, "ended")
        yield self.happened(call.diary, "ended")
        self.assertEqual(self.upper.saw("BYE")[0].request.from_.uri.username, "+4955o")
        self.assertEqual(phone.saw("BYE")[0].request.to.uri.username, "bob")

    @inlineCallbacks
    def test_the_caller_from_outside_gets_another_name(self):
        rule = 'name = "national"\ndirection = "in"\ncaller = ["0*"]\nrewrite_caller = "+49{1}"'
        yield self.begin(**{"[route]": rule})
        phone = yield self.asleep()
        call = self.upper.place_call("bob", caller="030123")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        [seen] = phone.saw("INVITE")
        self.assertEqual(seen.request.from_.uri.username, "+4930123")
        [push] = self.pushes(phone)
        self.assertEqual(push.payload["nfromusername"], "+4930123")
        yield call.hang_up()
        yield self.happened(self.ringing(phone).diary, "ended")

    @inlineCallbacks
    def test_an_operator_asks_where_a_call_would_go(self):
        yield self.begin(**{"[route]": 'name = "premium"\ncalled = ["0900*"]\nreject = 403'})
        found = yield self.asked("called=0900123&caller=bob")
        self.assertEqual((found["outcome"]["reject"], found["outcome"]["rule"]), (403, "premium"))
        found = yield self.asked("called=echo")
        self.assertEqual(found["servers"][0]["name"], "pbx")
        self.assertEqual(self.upper.saw("INVITE"), [])

    @inlineCallbacks
    def asked(self, query):
        """The answer of the dry run."""
        key = (self.world.directory / "state" / "admin.key").read_text().strip()
        address = f"{self.world.border.web}/api/v1/routing/dry-run?{query}"
        answer = yield treq.get(address, headers={"authorization": f"Bearer {key}"}, persistent=False)
        found = yield treq.json_content(answer)
        return found

    @inlineCallbacks
    def test_a_number_is_refused(self):
        rule = 'name = "premium"\ncalled = ["0900*"]\nreject = 403\nreason = "Too Expensive"'
        yield self.begin(**{"[route]": rule})
        phone = yield self.awake()
        status = yield self.final(phone.call("0900123"))
        self.assertEqual(status, 403)
        self.assertEqual(self.upper.saw("INVITE"), [])

    @inlineCallbacks
    def test_a_caller_from_outside_is_refused(self):
        rule = 'name = "spam"\ndirection = "in"\ncaller = ["spam*"]\nreject = 603'
        yield self.begin(**{"[route]": rule})
        phone = yield self.awake()
        status = yield self.final(self.upper.place_call("bob", caller="spammer"))
        self.assertEqual(status, 603)
        self.assertEqual(phone.saw("INVITE"), [])
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)

    @inlineCallbacks
    def test_rules_and_servers_from_the_database(self):
        yield self.other()
        yield self.begin()
        self.write(
            "insert into upper_servers (name, uri, domain) values ('trunk', ?, 'trunk.example.net')", self.trunk.uri
        )
        self.write("insert into upper_servers (name, uri) values ('broken', 'not a uri')")
        self.write("insert into routes (name, called, upper) values ('abroad', '00*, +*', 'trunk')")
        self.write("insert into routes (name, called, upper) values ('broken', '*1*2*', 'trunk')")
        changed = yield self.sbc.uppers.look()
        self.assertTrue(changed)
        self.assertEqual(len(self.flushLoggedErrors()), 0)
        self.trunk.answering["0049"] = 0.05
        phone = yield self.awake()
        status = yield self.final(phone.call("0049"))
        self.assertEqual((status, len(self.trunk.saw("INVITE"))), (200, 1))
        changed = yield self.sbc.uppers.look()
        self.assertFalse(changed)

    @inlineCallbacks
    def test_all_users_move_to_another_address_with_one_command(self):
        self.patch(uppers, "MOVE_OVER", 0.1)
        yield self.other(domain=DOMAIN)
        yield self.begin()
        sleeper = yield self.asleep()
        self.write("insert into upper_servers (name, uri, domain) values ('pbx', ?, ?)", self.trunk.uri, DOMAIN)
        yield self.sbc.uppers.look()
        yield until(lambda: self.trunk.contact_of("bob") is not None, "who sleeps moves by itself")
        status = yield self.final(self.trunk.place_call("bob"))
        self.assertEqual((status, sleeper.wakes), (200, 2))
        phone = yield self.awake("carol")
        self.assertIsNotNone(self.trunk.contact_of("carol"))
        self.assertIsNone(self.upper.contact_of("carol"))
        status = yield self.final(self.trunk.place_call("carol"))
        self.assertEqual(status, 200)
        self.assertEqual(len(phone.saw("INVITE")), 1)


class Chosen(Routed):
    """`routing.allow_client_upper_selection`."""

    ON = "allow_client_upper_selection = true\n"

    @inlineCallbacks
    def registers(self, routing, **headers):
        yield self.other()
        yield self.begin(routing=routing)
        named = {"x-sy.uppersrv": f"{ELSEWHERE}:{self.trunk.port}", "x-sy.uppersrvd": "trunk.example.net", **headers}
        stranger = self.stranger()
        response = yield stranger.ask(
            "REGISTER",
            "sip:trunk.example.net",
            self.world.sip,
            (b"contact", b"<sip:bob@127.0.0.3:5999>"),
            *((name.encode(), value.encode()) for name, value in named.items()),
            to="<sip:bob@trunk.example.net>",
        )
        return response

    @inlineCallbacks
    def test_nobody_chooses_where_it_is_not_allowed(self):
        response = yield self.registers("")
        self.assertEqual(response.status, 404)
        self.assertEqual(self.trunk.seen, [])

    @inlineCallbacks
    def test_loopback_is_not_chosen_unless_it_is_listed(self):
        response = yield self.registers(self.ON, **{"x-sy.uppersrvd": ELSEWHERE})
        self.assertIn(response.status, (403, 503))
        self.assertEqual(self.trunk.seen, [])

    @inlineCallbacks
    def test_a_listed_server_is(self):
        response = yield self.registers(self.ON + f'client_uppers = ["{ELSEWHERE}"]')
        self.assertEqual(response.status, 401, "the chosen server asks")
        self.assertEqual(len(self.trunk.saw("REGISTER")), 1)

    @inlineCallbacks
    def test_our_own_address_never_is(self):
        yield self.begin(routing=self.ON + 'client_uppers = ["127.0.0.0/8"]')
        stranger = self.stranger()
        response = yield stranger.ask(
            "REGISTER",
            "sip:x.example",
            self.world.sip,
            (b"x-sy.uppersrv", b"127.0.0.1:%d" % self.world.sip),
            to="<sip:bob@x.example>",
        )
        self.assertIn(response.status, (403, 503))

    @inlineCallbacks
    def test_a_phone_lives_at_its_chosen_server(self):
        yield self.other()
        yield self.begin(routing=self.ON + f'client_uppers = ["{ELSEWHERE}", "trunk.example.net"]')
        choice = [
            (b"X-Sy.Uppersrv", b"%s:%d" % (ELSEWHERE.encode(), self.trunk.port)),
            (b"X-Sy.Uppersrvd", b"trunk.example.net"),
        ]
        phone = self.phone(domain="trunk.example.net", realm="trunk.example.net", headers=choice)
        response = yield phone.start()
        self.assertEqual(response.status, 200)
        yield self.fall_asleep(phone)
        status = yield self.final(self.trunk.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual(phone.wakes, 2)
        [user] = self.rows("select * from users")
        self.assertEqual(user["domain"], "trunk.example.net")


class Relay(Routed):
    """Nobody makes us send where the operator did not say: whatever a client names, and however."""

    BAD = (
        *("127.0.0.5", "127.0.0.1", "0.0.0.0", "169.254.169.254", "10.0.0.1", "172.16.9.9", "192.168.0.1"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "[::]", "[::1]", "[fe80::1]", "[fd00::1]", "[ff02::1]"),
        *("[::ffff:10.0.0.1]", "localhost", "2130706433", "127.1"),
    )

    @inlineCallbacks
    def test_addresses_inside_are_never_sent_to(self):
        yield self.other()
        free = 'allow = ["127.0.0.0/8"]'  # else the third refusal is the last word that it hears
        yield self.begin(routing="allow_client_upper_selection = true", security=free)
        reached = []
        ways = self.sbc.uppers.ways
        connect = ways._connect
        self.patch(ways, "_connect", lambda where: reached.append(where.host) or connect(where))
        stranger = self.stranger()
        for bad in self.BAD:
            for uri, headers in (
                (f"sip:{bad}", []),
                ("sip:x.invalid", [(b"x-sy.uppersrv", bad.encode())]),
                ("sip:x.invalid", [(b"x-sy.uppersrv", b"x.invalid"), (b"x-sy.upperproxy", bad.encode())]),
                ("sip:x.invalid", [(b"x-sy.uppersrv", bad.encode()), (b"x-sy.uppersrvd", DOMAIN.encode())]),
            ):
                response = yield stranger.ask("REGISTER", uri, self.world.sip, *headers, to="<sip:bob@x.invalid>")
                self.assertIn(response.status, (400, 403, 404, 503), (bad, uri, headers))
        self.assertEqual(set(reached) - {self.upper.host}, set())
        self.assertEqual((self.trunk.seen, self.upper.saw("REGISTER")), ([], []))
        self.assertEqual(self.rows("select * from users"), [])


class Trunks(Routed):
    """Known by the address that they send from (`trust`)."""

    @inlineCallbacks
    def test_a_trunk_calls_a_user_and_a_stranger_with_the_same_words_does_not(self):
        trunk = 'name = "trunk"\nuri = "sip:127.0.0.77"\ndomain = "pbx.example.com"\ntrust = ["127.0.0.64/28"]'
        yield self.begin(**{"[upper]": trunk})
        phone = yield self.awake()
        uri = f"sip:bob@{DOMAIN}"
        response = yield self.stranger("127.0.0.70").ask("MESSAGE", uri, self.world.sip, body=b"from the trunk")
        self.assertEqual(response.status, 200)
        self.assertEqual((len(phone.saw("MESSAGE")), self.upper.saw("MESSAGE")), (1, []), "straight to the phone")
        self.upper.script.plan("MESSAGE", Reply(status=403))
        response = yield self.stranger("127.0.0.90").ask("MESSAGE", uri, self.world.sip, body=b"from a stranger")
        self.assertEqual((response.status, len(phone.saw("MESSAGE"))), (403, 1), "the upper server judges a stranger")


class Barred(Routed):
    @inlineCallbacks
    def test_a_barred_user_is_refused_and_loses_its_devices(self):
        yield self.begin()
        phone = yield self.awake()
        self.write("update users set state = 'banned'")
        yield self.sbc._look_at_tables()
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 403)
        response = yield phone.register()
        self.assertEqual(response.status, 403)
        yield until(lambda: self.rows("select * from bindings") == [], "no device is left")
