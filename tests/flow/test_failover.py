"""Two upper servers of one domain, and what happens when one of them fails."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks

from sbc import assembly, uppers
from sbc.lab.upper import Reply, Upper
from sbc.upper import health, refresher, watch
from tests.flow.scene import DOMAIN, USERS, FlowCase, pause, until

PATIENT = 'health_interval = "0.2s"\nfailover_after = "30s"'
QUICK = 'health_interval = "0.2s"\nfailover_after = "0.5s"'
"""For a test in which a server is silent: no other server may be what a stall makes silent."""


class TwoServers(FlowCase):
    """`self.upper` is the first, `self.spare` stands in for it. Everything runs faster than in earnest, but for the
    patience with servers: it is short only while one is to be found silent."""

    def setUp(self):
        self.patch(assembly, "LOOK", 0.05)
        self.patch(watch, "PATIENCE", 30.0)
        self.patch(health, "DOUBT", 0.1)
        self.patch(uppers, "MOVE_OVER", 0.1)

    @inlineCallbacks
    def two(self, *, routing=PATIENT, priority=10, **sections):
        self.spare = Upper(reactor, host="127.0.0.5", users=USERS, domain=DOMAIN)
        yield self.spare.start()
        self.addCleanup(lambda: self.spare.stop())
        for server in (self.spare,):
            server.answering["echo"] = 0.05
        entry = f'name = "spare"\nuri = "{self.spare.uri}"\ndomain = "{DOMAIN}"\npriority = {priority}'
        yield self.begin(routing=routing, **{"[upper]": entry, **sections})
        self.upper.answering["echo"] = 0.05

    def state(self, name="pbx"):
        [view] = [each for each in self.sbc.uppers.view() if each.name == name]
        return view.state

    @inlineCallbacks
    def becomes(self, state, name="pbx"):
        yield until(lambda: self.state(name) == state, f"{name} is {state}")

    @inlineCallbacks
    def goes(self):
        """The first server goes, and that is noticed; the other one is up."""
        yield self.upper.stop()
        self.patch(watch, "PATIENCE", 0.4)
        yield self.becomes("down")
        yield self.patient()
        yield self.becomes("up", "spare")

    @inlineCallbacks
    def comes_back(self):
        """It is there again, and that is noticed."""
        yield self.upper.start()
        yield self.becomes("up")

    @inlineCallbacks
    def patient(self):
        """What was asked with little patience is over, and nothing more is asked so."""
        self.patch(watch, "PATIENCE", 30.0)
        yield pause(0.5)
        self.sbc.driver.tick()


class Health(TwoServers):
    @inlineCallbacks
    def test_a_server_goes_and_comes_back(self):
        yield self.two()
        yield self.becomes("up")
        yield self.becomes("up", "spare")
        [view] = [each for each in self.sbc.uppers.view() if each.name == "pbx"]
        self.assertLess(view.round_trip, 30.0)
        yield self.goes()
        metrics = yield self.world.border.metrics()
        self.assertIn('sbc_upper_up{upper="pbx"} 0', metrics)
        self.assertIn('sbc_upper_up{upper="spare"} 1', metrics)
        yield self.comes_back()

    @inlineCallbacks
    def test_a_server_that_says_it_is_out_of_service(self):
        yield self.two()
        yield self.becomes("up")
        self.upper.script.always("OPTIONS", Reply(status=503))
        yield self.becomes("down")
        [view] = [each for each in self.sbc.uppers.view() if each.name == "pbx"]
        self.assertEqual(view.reason, "OPTIONS: 503")


class Calling(TwoServers):
    """From bob's phone to a number that both servers answer for."""

    @inlineCallbacks
    def call(self):
        phone = yield self.awake()
        call = phone.call("echo")
        return call

    @inlineCallbacks
    def answered_by(self, call, server):
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual([len(server.calls)], [1])
        yield call.hang_up()

    @inlineCallbacks
    def test_the_first_server_takes_it_while_it_can(self):
        yield self.two()
        call = yield self.call()
        yield self.answered_by(call, self.upper)
        self.assertEqual(self.spare.saw("INVITE"), [])
        [cdr], _ = yield self.record(call)
        self.assertEqual(cdr["upper"], "pbx")

    @inlineCallbacks
    def test_a_refusal_that_speaks_of_the_server(self):
        yield self.two()
        self.upper.script.plan("INVITE", Reply(status=503))
        call = yield self.call()
        yield self.answered_by(call, self.spare)
        [cdr], told = yield self.record(call)
        self.assertEqual((cdr["upper"], cdr["code"]), ("spare", 200))
        self.in_order(told, "routed", "delivered", "branch_failed", "failover", "delivered", "answered", "bye")

    @inlineCallbacks
    def test_a_redirection_to_where_nobody_can_be_reached(self):
        yield self.two()
        moved = Reply(status=302, headers=((b"contact", f"<sip:voicemail@{DOMAIN}>".encode()),))
        self.upper.script.plan("INVITE", moved)
        self.upper.script.plan("INVITE", Reply(status=503))
        call = yield self.call()
        yield self.answered_by(call, self.spare)
        users = [seen.request.uri.partition(b"@")[0] for seen in self.upper.saw("INVITE")]
        self.assertEqual(users, [b"sip:echo", b"sip:voicemail"])
        [cdr], told = yield self.record(call)
        self.assertEqual((cdr["upper"], cdr["code"]), ("spare", 200))
        self.in_order(told, "routed", "delivered", "branch_failed", "failover", "delivered", "answered", "bye")

    @inlineCallbacks
    def test_a_refusal_that_speaks_of_the_call(self):
        yield self.two()
        self.upper.script.plan("INVITE", Reply(status=486))
        call = yield self.call()
        status = yield self.final(call)
        self.assertEqual(status, 486)
        self.assertEqual(self.spare.saw("INVITE"), [])

    @inlineCallbacks
    def test_silence(self):
        yield self.two(routing=QUICK)
        self.upper.script.plan("INVITE", Reply(silent=True))
        call = yield self.call()
        yield self.answered_by(call, self.spare)
        [cdr], told = yield self.record(call)
        self.assertIn("failover", told)
        self.assertLess(cdr["answered_at"] - cdr["started_at"], 25)

    @inlineCallbacks
    def test_a_slow_server_is_told_that_the_call_is_elsewhere(self):
        yield self.two(routing=QUICK)
        self.upper.script.plan("INVITE", Reply(delay=0.8))
        call = yield self.call()
        yield self.answered_by(call, self.spare)
        yield until(lambda: self.upper.saw("INVITE") and self.upper.calls, "the late one")
        [late] = self.upper.calls
        yield self.happened(late.diary, "ended")
        yield self.becomes("up")

    @inlineCallbacks
    def test_a_server_known_to_be_down_costs_no_time(self):
        yield self.two()
        phone = yield self.awake()
        yield self.becomes("up")
        yield self.goes()
        call = phone.call("echo")
        yield self.answered_by(call, self.spare)
        _, told = yield self.record(call)
        self.assertNotIn("failover", told)

        yield self.comes_back()
        call = phone.call("echo")
        yield self.answered_by(call, self.upper)

    @inlineCallbacks
    def test_a_message_goes_to_the_next_server_too(self):
        yield self.two()
        self.upper.script.plan("MESSAGE", Reply(status=503))
        phone = yield self.awake()
        response = yield phone.send_message("echo", "hello")
        self.assertEqual(response.status, 200)
        self.assertEqual((len(self.upper.saw("MESSAGE")), len(self.spare.saw("MESSAGE"))), (1, 1))

    @inlineCallbacks
    def test_the_caller_gives_up_meanwhile(self):
        yield self.two()
        self.upper.script.plan("INVITE", Reply(silent=True))
        call = yield self.call()
        yield until(lambda: self.upper.saw("INVITE"), "the first has it")
        [attempt] = self.sbc.calls.open
        self.assertIsNotNone(attempt.fork.deadline(), "the second is to follow")
        call.cancel()
        status = yield self.final(call)
        self.assertEqual(status, 487)
        self.assertEqual((attempt.fork.deadline(), self.spare.saw("INVITE")), (None, []))


class Registering(TwoServers):
    def where(self):
        """The server that holds bob's registration, by the database."""
        rows = self.rows("select upper from upper_registrations where state = 'registered'")
        return rows[0]["upper"] if rows else ""

    def setUp(self):
        super().setUp()
        self.patch(assembly, "POLL", 0.1)
        self.patch(refresher, "POLL", 0.1)

    @inlineCallbacks
    def test_the_next_server_takes_a_register_that_the_first_cannot(self):
        yield self.two()
        self.upper.script.plan("REGISTER", Reply(status=503), Reply(status=500))
        yield self.awake()
        self.assertIsNone(self.upper.contact_of("bob"))
        self.assertIsNotNone(self.spare.contact_of("bob"))
        self.assertEqual(self.where(), "spare")
        [user] = self.rows("select * from users")
        self.assertEqual(user["upper"], "pbx", "one user, whichever server has it")

    @inlineCallbacks
    def test_the_next_server_takes_it_after_silence(self):
        yield self.two(routing='health_interval = "0"\nfailover_after = "2s"')
        self.upper.script.always("REGISTER", Reply(silent=True))
        yield self.awake()
        self.assertEqual(self.where(), "spare")

    @inlineCallbacks
    def test_a_wrong_password_is_asked_for_at_one_server_only(self):
        yield self.two()
        phone = self.phone(password="wrong")
        response = yield phone.start()
        self.assertEqual(response.status, 403)
        self.assertEqual(self.spare.saw("REGISTER"), [])

    @inlineCallbacks
    def test_a_sleeping_phone_moves_to_the_spare_and_back_and_can_be_called_at_each(self):
        yield self.two()
        phone = yield self.asleep()
        yield self.becomes("up")
        self.assertEqual(self.where(), "pbx")
        yield self.goes()
        yield until(lambda: self.where() == "spare", "moved to the spare")
        status = yield self.final(self.spare.place_call("bob"))
        self.assertEqual(status, 200)
        yield self.fall_asleep(phone)

        yield self.comes_back()
        yield until(lambda: self.where() == "pbx", "and back")
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual(len(self.rows("select * from users")), 1)

    @inlineCallbacks
    def test_a_stand_in_that_does_not_know_the_user_has_no_say(self):
        yield self.two(push="upper_expires = 1")
        self.upper.rules.expires = self.upper.rules.min_expires = 1
        yield self.asleep()
        yield self.becomes("up")
        self.spare.script.always("REGISTER", Reply(status=404))
        yield self.goes()
        yield until(lambda: self.spare.saw("REGISTER"), "tried there")
        yield until(lambda: self.rows("select state from upper_registrations")[0]["state"] == "failing", "in vain")
        yield self.written()
        [user] = self.rows("select * from users")
        self.assertIsNotNone(user["ha1"])
        self.assertEqual(len(self.rows("select * from push_tokens")), 1)


class Following(TwoServers):
    """Registrations move with the calls of their users, long before their turn."""

    def setUp(self):
        super().setUp()
        self.patch(uppers, "MOVE_OVER", 600.0)

    def where(self, username):
        [row] = self.rows(
            "select r.upper from upper_registrations r join users u on u.id = r.user_id where u.username = ?", username
        )
        return row["upper"]

    @inlineCallbacks
    def two(self, routing=PATIENT, **more):
        yield super().two(routing=routing + '\nlocal_calls = "off"', **more)
        for server in (self.upper, self.spare):
            del server.answering["echo"]

    @inlineCallbacks
    def test_a_call_takes_both_its_users_to_the_stand_in_and_back(self):
        yield self.two()
        yield self.asleep("carol")
        phone = yield self.awake("bob")
        yield self.becomes("up")
        yield self.goes()
        call = phone.call("carol")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertIsNotNone(self.spare.contact_of("bob"))
        self.assertEqual(self.where("carol"), "spare")
        _, told = yield self.ended(call)
        self.in_order(told, "register", "delivered", "answered", "bye")

        yield self.comes_back()
        self.upper.location.users.clear()
        call = phone.call("carol")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield until(lambda: (self.where("bob"), self.where("carol")) == ("pbx", "pbx"), "both are back")
        yield self.ended(call)

    @inlineCallbacks
    def ended(self, call):
        yield call.hang_up()
        found = yield self.record(call, 1)
        return found

    @inlineCallbacks
    def test_a_call_that_is_the_first_to_notice(self):
        yield self.two(routing='health_interval = "0"\nfailover_after = "2s"')
        yield self.asleep("carol")
        phone = yield self.awake("bob")
        self.upper.script.always("INVITE", Reply(silent=True))
        call = phone.call("carol")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertIsNotNone(self.spare.contact_of("carol"), "where it was asked for her")
        yield self.ended(call)

    @inlineCallbacks
    def test_a_stand_in_that_takes_no_registrations_delays_nobody_for_long(self):
        yield self.two()
        yield self.asleep("carol")
        phone = yield self.awake("bob")
        yield self.becomes("up")
        yield self.goes()
        self.spare.script.always("REGISTER", Reply(silent=True))
        status = yield self.final(phone.call("carol"))
        self.assertEqual(status, 480, "what the stand-in says of a user that it does not have")
