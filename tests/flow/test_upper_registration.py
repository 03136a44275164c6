"""The registration at the upper server lives on while the phone sleeps, by the stored HA1."""

from __future__ import annotations

import time

from twisted.internet.defer import inlineCallbacks

from sbc.admin.ports import Account
from sbc.admin.routes import Refused
from sbc.lab.upper import Reply
from sbc.sip.digest import Credentials, ha1
from sbc.transaction.retry import Timers
from sbc.upper import registration
from tests.flow.due import Due
from tests.flow.scene import DOMAIN, USERS, FlowCase, until


class KeptAlive(Due):
    def refreshes(self):
        """REGISTERs that the upper server has seen."""
        return len(self.upper.saw("REGISTER"))

    def bound_at(self):
        """When the upper server last accepted a REGISTER of bob's; 0: he is not bound."""
        found = self.upper.contact_of("bob")
        return found.updated_at if found is not None else 0

    @inlineCallbacks
    def accepted(self):
        """It falls due and is refreshed, with success."""
        before = self.bound_at()
        yield self.refreshed()
        self.assertGreater(self.bound_at(), before)
        self.assertEqual(self.state(), ("registered", 200, 0))

    @inlineCallbacks
    def test_a_sleeping_phone_stays_registered(self):
        yield self.begin(push="upper_expires = 40")
        self.upper.rules.expires = self.upper.rules.min_expires = 40
        phone = yield self.asleep()
        for _ in range(4):
            row = self.row()
            self.assertLess(time.time(), row["next_at"])
            self.assertLess(row["next_at"], row["expires_at"] - 3, "never gone: refreshed before it ends")
            yield self.accepted()
            self.assertIsNotNone(self.upper.contact_of("bob"))
        self.assertEqual(self.pushes(phone), [], "nobody was woken for that")
        self.assertEqual(phone.wakes, 1)

    @inlineCallbacks
    def test_it_is_refreshed_when_its_time_has_come(self):
        yield self.begin(push="upper_expires = 2")
        self.upper.rules.expires, self.upper.rules.min_expires = 2, 1
        phone = yield self.asleep()
        times = {self.bound_at()}
        yield until(lambda: len(times - {0}) > 2 or times.add(self.bound_at()), "two refreshes by the clock")
        self.assertEqual(self.pushes(phone), [])

    @inlineCallbacks
    def test_a_longer_interval_is_asked_for_when_the_server_wants_one(self):
        yield self.begin(push="upper_expires = 100")
        yield self.asleep()
        self.upper.rules.min_expires = self.upper.rules.expires = 400
        yield self.accepted()
        self.assertEqual(self.upper.saw("REGISTER")[-1].request.expires, 400)

    @inlineCallbacks
    def test_an_ha1_of_sha_256_keeps_the_registration_at_a_server_that_wants_it(self):
        yield self.begin()
        self.upper.rules.algorithm = "SHA-256"
        known = ha1("bob", DOMAIN, USERS["bob"], "SHA-256").encode()
        phone = yield self.asleep(sends_ha1=False, headers=[(b"x-piid", known)])
        yield self.accepted()
        yield self.accepted()
        self.assertEqual(self.pushes(phone), [], "nobody was woken for that")
        register = self.upper.saw("REGISTER")[-1].request
        self.assertFalse(register.has(b"x-piid"))

    @inlineCallbacks
    def test_of_several_hashes_the_one_that_the_server_likes_best_is_used(self):
        """RFC 8760 section 2.4."""
        yield self.begin()
        self.upper.rules.algorithm = "SHA-512-256, SHA-256, MD5"
        known = [f"{name}:{ha1('bob', DOMAIN, USERS['bob'], name)}".encode() for name in ("SHA-256", "MD5")]
        phone = yield self.asleep(sends_ha1=False, headers=[(b"x-piid", value) for value in known])
        yield self.accepted()
        [value] = self.upper.saw("REGISTER")[-1].request.lines(b"authorization")
        self.assertEqual(Credentials.parse(value).algorithm, "SHA-256", "of the two that are known")
        self.upper.rules.algorithm = "MD5"
        self.upper.location.forget_nonces()
        yield self.accepted()
        self.assertEqual(self.pushes(phone), [], "nobody was woken for that")

    @inlineCallbacks
    def test_ha1s_given_by_hand_bring_a_registration_back(self):
        yield self.begin(push='wake_to_refresh = "off"')
        yield self.asleep(sends_ha1=False)
        self.upper.location.forget_nonces()
        yield self.refreshed()
        self.assertEqual(self.state()[0], "needs_wake")
        before = self.bound_at()
        given = Account("bob", DOMAIN, DOMAIN, "bob", ha1("bob", DOMAIN, USERS["bob"]))
        yield self.sbc.operations.save_ha1s([given], "carla")
        yield until(lambda: self.bound_at() > before, "it is tried again")
        yield until(lambda: self.state() == ("registered", 200, 0), "and accepted")
        foreign = Account("bob", "example.net", "example.net", "bob", given.ha1)
        self.assertRaises(Refused, self.sbc.operations.save_ha1s, [foreign], "carla")

    @inlineCallbacks
    def test_a_stale_nonce_is_answered_once_more(self):
        yield self.begin()
        yield self.asleep()
        self.upper.script.plan("REGISTER", Reply(), Reply(stale=True))
        yield self.accepted()

    @inlineCallbacks
    def test_a_server_in_trouble_is_asked_again_later(self):
        self.patch(registration, "MIN_BACKOFF", 60.0)
        yield self.begin()
        yield self.asleep()
        self.upper.script.plan("REGISTER", Reply(status=503), Reply(status=503))
        later = []
        for failures in (1, 2):
            row = yield self.refreshed()
            self.assertEqual(self.state(), ("failing", 503, failures))
            later.append(row["next_at"] - time.time())
        self.assertGreater(later[0], 20, "not at once")
        self.assertGreater(later[1], later[0], "and then later")
        yield self.accepted()

    @inlineCallbacks
    def test_a_forbidden_user_is_not_asked_for_again(self):
        yield self.begin()
        yield self.asleep()
        self.upper.script.always("REGISTER", Reply(status=403))
        row = yield self.refreshed()
        self.assertEqual((row["state"], row["next_at"]), ("rejected", None), "no more tries")
        yield until(lambda: self.rows("select ha1 from users")[0]["ha1"] is None, "what does not work is forgotten")
        yield until(lambda: not self.rows("select * from push_tokens"), "and the device goes (remove_on)")
        self.flushLoggedErrors()

    @inlineCallbacks
    def test_the_app_brings_a_rejected_user_back(self):
        yield self.begin(push__remove_on="register_failure = false")
        phone = yield self.asleep()
        self.upper.script.plan("REGISTER", Reply(status=403))
        row = yield self.refreshed()
        self.assertEqual(row["state"], "rejected")
        response = yield phone.wake()
        self.assertEqual(response.status, 200)
        self.assertEqual(self.state()[0], "registered")
        yield self.fall_asleep(phone)
        yield self.accepted()

    @inlineCallbacks
    def test_a_silent_server_is_a_failing_one(self):
        yield self.begin()
        yield self.asleep()
        self.patch(self.sbc.driver.table, "_timers", Timers(timeout=1.0))
        self.upper.script.always("REGISTER", Reply(silent=True))
        row = yield self.refreshed()
        self.assertEqual(row["state"], "failing")
        self.patch(self.sbc.driver.table, "_timers", Timers())
        self.upper.script.always("REGISTER", None)
        yield self.accepted()

    @inlineCallbacks
    def test_a_challenge_that_only_the_app_can_answer_wakes_it(self):
        yield self.begin()
        phone = yield self.asleep()
        self.upper.rules.algorithm = "SHA-256"
        self.upper.location.forget_nonces()
        self.fall_due()
        yield self.happened(phone.diary, "registered", 2)
        [push] = self.pushes(phone)
        self.assertEqual(push.payload["ntype"], "4")
        self.assertEqual(self.state()[0], "registered")
        self.assertIsNotNone(self.upper.contact_of("bob"))

    @inlineCallbacks
    def test_without_an_ha1_the_app_is_woken_in_time(self):
        yield self.begin(push="upper_expires = 200")
        self.upper.rules.expires = self.upper.rules.min_expires = 200
        phone = yield self.asleep(sends_ha1=False)
        row = self.row()
        self.assertLess(row["next_at"], row["expires_at"] - 30, "before the old one runs out")
        self.fall_due()
        yield self.happened(phone.diary, "registered", 2)
        self.assertEqual(len(self.pushes(phone)), 1)

    @inlineCallbacks
    def test_it_is_resumed_after_a_restart(self):
        yield self.begin()
        phone = yield self.asleep()
        yield self.world.restart()
        yield self.accepted()
        self.assertGreater(self.row()["expires_at"], time.time())
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual(len(phone.saw("INVITE")), 1)

    @inlineCallbacks
    def test_it_is_not_resumed_where_that_is_switched_off(self):
        yield self.begin(push='resume_on_start = "off"')
        phone = yield self.asleep()
        yield self.world.restart()
        yield until(lambda: self.state()[0] == "ended", "left to expire")
        response = yield phone.wake()
        self.assertEqual((response.status, self.state()[0]), (200, "registered"))

    @inlineCallbacks
    def test_one_contact_for_two_devices(self):
        yield self.begin()
        yield self.asleep()
        yield self.asleep(host="127.0.0.4")
        self.assertEqual(len(self.upper.location.users["bob"]), 1)
        before = self.refreshes()
        yield self.accepted()
        self.assertLessEqual(self.refreshes() - before, 2, "refreshed once for both")

    @inlineCallbacks
    def test_kept_only_where_that_is_wanted(self):
        yield self.begin(push='upper_expires = 1\nkeep_upper_registration = "off"')
        self.upper.rules.expires, self.upper.rules.min_expires = 1, 1
        yield self.asleep()
        count = self.refreshes()
        yield until(lambda: self.upper.contact_of("bob") is None, "it ran out")
        self.assertEqual(self.refreshes(), count)


class Promised(FlowCase):
    """How long the phone may count on its registration, where the upper server grants less than it asked for."""

    @inlineCallbacks
    def told(self, **more):
        self.upper.rules.expires = 120
        phone = self.phone("bob", expires=3600, **more)
        response = yield phone.start()
        self.assertEqual(response.status, 200)
        [contact] = response.contacts
        [row] = self.rows("select next_at from upper_registrations")
        return int(contact.params[b"expires"]), row["next_at"] is not None

    @inlineCallbacks
    def test_a_phone_whose_registration_is_refreshed_here_need_not_come_again(self):
        yield self.begin()
        told = yield self.told()
        self.assertEqual(told, (3600, True))

    @inlineCallbacks
    def test_a_phone_without_push_refreshes_itself_although_it_sent_an_ha1(self):
        yield self.begin()
        told = yield self.told(provider="", headers=[(b"x-piid", ha1("bob", DOMAIN, "secret-bob").encode())])
        self.assertEqual(told, (120, False))

    @inlineCallbacks
    def test_an_ha1_that_does_not_fit_refreshes_nothing(self):
        yield self.begin()
        told = yield self.told(sends_ha1=False, headers=[(b"x-piid", b"0" * 32)])
        self.assertEqual(told[0], 120)
