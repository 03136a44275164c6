"""How devices appear at the upper server, and what of a REGISTER never gets there."""

from __future__ import annotations

from twisted.internet.defer import inlineCallbacks

from sbc.sip.digest import Challenge, ha1
from tests.flow.scene import DOMAIN, USERS, FlowCase, until


class Mirror(FlowCase):
    @inlineCallbacks
    def two_phones(self):
        yield self.begin(registrar='mode = "mirror"')
        first = yield self.awake()
        second = yield self.awake(host="127.0.0.4")
        return first, second

    def contacts(self):
        return [contact.uri for contact in self.upper.location.contacts("bob", self.upper.reactor.seconds())]

    @inlineCallbacks
    def test_each_device_is_a_contact_of_its_own(self):
        first, second = yield self.two_phones()
        self.assertEqual(len(set(self.contacts())), 2)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual((len(first.saw("INVITE")), len(second.saw("INVITE"))), (0, 1), "the one that was called")

    @inlineCallbacks
    def test_a_device_that_goes_takes_its_contact_along(self):
        first, second = yield self.two_phones()
        response = yield first.register(unbind=True, expires=0)
        self.assertEqual(response.status, 200)
        self.assertEqual(len(self.contacts()), 1)
        self.assertEqual(len(self.rows("select * from bindings")), 1)
        self.assertEqual(len(self.rows("select * from upper_registrations")), 1)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual(len(second.saw("INVITE")), 1)

    @inlineCallbacks
    def test_each_is_woken_for_itself(self):
        first, second = yield self.two_phones()
        yield self.fall_asleep(first)
        yield self.fall_asleep(second)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual((len(self.pushes(first)), len(self.pushes(second))), (0, 1))


class Sparing(FlowCase):
    """`registrar.answer_locally`."""

    def seen(self):
        return len(self.upper.saw("REGISTER"))

    @inlineCallbacks
    def test_a_phone_that_registers_again_is_answered_here(self):
        yield self.begin(registrar="answer_locally = true")
        phone = yield self.awake()
        before = self.seen()
        for _ in range(3):
            response = yield phone.register()
            self.assertEqual(response.status, 200)
            self.assertTrue(response.has(b"contact"))
        self.assertEqual(self.seen(), before)

    @inlineCallbacks
    def test_a_phone_that_wakes_is_answered_here_and_gets_its_call(self):
        yield self.begin(registrar="answer_locally = true")
        phone = yield self.asleep()
        before = self.seen()
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual(phone.wakes, 2)
        self.assertEqual(self.seen(), before)

    @inlineCallbacks
    def test_our_own_challenge_is_of_the_hash_that_the_ha1_was_made_with(self):
        yield self.begin(registrar="answer_locally = true")
        self.upper.rules.algorithm = "SHA-256"
        known = ha1("bob", DOMAIN, USERS["bob"], "SHA-256").encode()
        phone = yield self.awake(sends_ha1=False, headers=[(b"x-piid", known)])
        before = self.seen()
        response = yield phone.register()
        self.assertEqual(response.status, 200)
        self.assertEqual(self.seen(), before)

    @inlineCallbacks
    def test_of_several_ha1s_the_phone_uses_the_strongest_and_an_old_one_the_one_that_it_knows(self):
        yield self.begin(registrar="answer_locally = true")
        names = ("MD5", "SHA-256", "SHA-512-256")
        known = ", ".join(f"{name}:{ha1('bob', DOMAIN, USERS['bob'], name)}" for name in names).encode()
        phone = yield self.awake(sends_ha1=False, headers=[(b"x-piid", known)])
        self.assertFalse(any(each.request.has(b"x-piid") for each in self.upper.saw("REGISTER")))
        before = self.seen()
        for can, used in ((names, "SHA-512-256"), (names[:2], "SHA-256"), (names[:1], "MD5")):
            phone.identity.hashes = frozenset(can)
            response = yield phone.register()
            self.assertEqual((response.status, phone.identity.used[-1]), (200, used))
            asked = [each.message for each in phone.party.heard if each.what == "401"][-1]
            offered = [Challenge.parse(value).algorithm for value in asked.lines(b"www-authenticate")]
            self.assertEqual(offered, ["SHA-512-256", "SHA-256", "MD5"])
        self.assertEqual(self.seen(), before)

    @inlineCallbacks
    def test_a_stranger_gains_nothing(self):
        yield self.begin(registrar="answer_locally = true")
        phone = yield self.awake()
        [before] = self.rows("select source from bindings")
        thief = self.phone(host="127.0.0.6", password="guessed", sends_ha1=False)
        response = yield thief.start()
        self.assertIn(response.status, (401, 403))
        [after] = self.rows("select source from bindings")
        self.assertEqual(before["source"], after["source"])
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual(len(phone.saw("INVITE")), 1)

    @inlineCallbacks
    def test_what_ends_soon_goes_up_and_the_phone_is_not_asked_twice(self):
        yield self.begin(registrar="answer_locally = true")
        self.upper.rules.expires = 30
        phone = yield self.awake()
        before = self.seen()
        response = yield phone.register()
        self.assertEqual(response.status, 200)
        self.assertGreater(self.seen(), before)


class Proving(FlowCase):
    """`registrar.prefer_md5_auth`."""

    @inlineCallbacks
    def test_the_challenge_does_not_reach_the_phone(self):
        yield self.begin(registrar="prefer_md5_auth = true")
        phone = self.phone()
        response = yield phone.start()
        self.assertEqual(response.status, 200)
        self.assertEqual(len(self.upper.saw("REGISTER")), 2)
        self.assertIsNotNone(self.upper.contact_of("bob"))
        [user] = self.rows("select realm, ha1 from users")
        self.assertEqual(user["realm"], "pbx.example.com")
        self.assertIsNotNone(user["ha1"])

    @inlineCallbacks
    def test_a_wrong_ha1_gets_nowhere(self):
        yield self.begin(registrar="prefer_md5_auth = true")
        phone = self.phone(password="wrong")
        response = yield phone.start()
        self.assertIn(response.status, (401, 403))
        self.assertEqual(self.rows("select * from users"), [])


class Intervals(FlowCase):
    @inlineCallbacks
    def test_a_server_that_wants_longer_registrations_is_asked_for_them(self):
        yield self.begin(push="upper_expires = 60")
        self.upper.rules.min_expires = 300
        phone = self.phone()
        response = yield phone.start()
        self.assertEqual(response.status, 200, "the phone asked again, for longer")
        asked = [seen.request.expires for seen in self.upper.saw("REGISTER")]
        self.assertEqual((asked[0], asked[-1]), (60, 300))
        yield phone.register()
        self.assertEqual(self.upper.saw("REGISTER")[-1].request.expires, 300, "known from now on")


class Ending(FlowCase):
    """`push.remove_on.*`."""

    @inlineCallbacks
    def test_a_register_without_any_push_ends_it_where_that_is_wanted(self):
        yield self.begin(push__remove_on="missing_pn = true")
        phone = yield self.awake()
        self.assertEqual(len(self.rows("select * from push_tokens")), 1)
        phone.token = None
        response = yield phone.register()
        self.assertEqual(response.status, 200)
        self.assertEqual(self.rows("select * from push_tokens"), [])

    @inlineCallbacks
    def test_a_device_that_does_not_come_is_removed_where_that_is_wanted(self):
        yield self.begin(push__remove_on='no_answer = "on"')
        phone = yield self.asleep(killed=True)
        call = self.upper.place_call("bob")
        yield self.in_vain()
        status = yield self.final(call)
        self.assertEqual(status, 480)
        self.assertEqual(len(self.pushes(phone)), 1)
        yield until(lambda: self.rows("select * from bindings") == [], "removed")

    @inlineCallbacks
    def test_it_takes_three_calls_in_a_row(self):
        yield self.begin(push__remove_on='subsequent_call_failure = "on"')
        yield self.asleep(killed=True)
        for count, left in enumerate((1, 1, 0), 1):
            call = self.upper.place_call("bob")
            yield self.in_vain(count)
            status = yield self.final(call)
            self.assertEqual(status, 480)
            _, told = yield self.record(call)  # written after what the call removes: both take their turn in one queue
            self.assertEqual("unregister" in told, left == 0)
            self.assertEqual(len(self.rows("select * from bindings")), left)
