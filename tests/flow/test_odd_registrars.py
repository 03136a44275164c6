"""Upper servers that do what registrars seldom do, and what becomes of a sleeping phone's registration there."""

from __future__ import annotations

import time

from twisted.internet.defer import inlineCallbacks

from sbc.lab.script import Answer
from sbc.lab.upper import Reply
from sbc.sip.digest import Challenge
from sbc.store.housekeeping import ExpireBindings
from tests.flow.due import Due
from tests.flow.scene import DOMAIN, until

SHA256 = Challenge(realm=DOMAIN.encode(), nonce=b"s1", algorithm="SHA-256", qop=("auth",)).render()


class Odd(Due):
    """Bob's phone sleeps, and his registration falls due when a test says so."""

    @inlineCallbacks
    def sleeping(self, push="", **more):
        yield self.begin(push=push)
        phone = yield self.asleep(**more)
        self.before = len(self.upper.saw("REGISTER"))
        return phone

    def sent(self):
        """The REGISTERs that came since the phone fell asleep."""
        return [seen.request for seen in self.upper.saw("REGISTER")[self.before :]]

    @inlineCallbacks
    def meets(self, *replies, count=1):
        """The registration falls due and meets these replies; `count` REGISTERs later it stands written."""
        self.upper.script.plan("REGISTER", *replies)
        row = yield self.refreshed(count)
        return row

    def lasts(self, row, seconds, why):
        self.assertTrue(abs(row["expires_at"] - time.time() - seconds) < 60, why)


class Refreshing(Odd):
    @inlineCallbacks
    def test_503_with_retry_after_is_obeyed(self):
        yield self.sleeping()
        row = yield self.meets(Reply(status=503, headers=((b"retry-after", b"120 (busy)"),)))
        self.assertEqual((row["state"], row["last_code"]), ("failing", 503))
        self.assertGreater(row["next_at"], time.time() + 115)

    @inlineCallbacks
    def test_a_short_grant_is_refreshed_in_time(self):
        yield self.sleeping()
        self.upper.rules.expires = self.upper.rules.min_expires = 40
        for count in (2, 1, 1):
            row = yield self.meets(count=count)
            self.assertEqual(row["state"], "registered")
            self.assertEqual(self.sent()[-1].expires, 3600, "as much as ever was asked for")
            self.assertTrue(time.time() < row["next_at"] < row["expires_at"] - 3, "never gone")
            self.assertIsNotNone(self.upper.contact_of("bob"))

    @inlineCallbacks
    def test_the_next_nonce_spares_the_challenge_even_after_a_restart(self):
        yield self.sleeping()
        self.upper.rules.next_nonce, self.upper.rules.nonce_uses = True, 1
        yield self.meets(count=2)
        self.assertEqual([request.has(b"authorization") for request in self.sent()], [False, True])
        yield self.meets()
        self.assertTrue(self.sent()[2].has(b"authorization"))
        yield self.world.restart()
        row = yield self.meets()
        self.assertEqual((row["state"], len(self.sent())), ("registered", 4), "each in one round trip")

    @inlineCallbacks
    def test_a_realm_that_changed_is_not_told_what_was_made_for_another(self):
        phone = yield self.sleeping()
        phone.manners.killed = True
        self.upper.rules.realm = "another.example.com"
        yield self.meets()
        self.assertEqual([request.has(b"authorization") for request in self.sent()], [False])
        row = self.row()
        self.assertEqual((row["state"], row["last_code"]), ("needs_wake", 401))
        yield self.happened(phone.diary, "push")
        [push] = self.pushes(phone)
        self.assertEqual(push.payload["ntype"], "4")

    @inlineCallbacks
    def test_of_two_challenges_the_one_that_can_be_answered_is(self):
        phone = yield self.sleeping()
        [known] = self.upper.location.challenge(self.upper.reactor.seconds()).headers
        row = yield self.meets(Reply(status=401, headers=((b"www-authenticate", SHA256), known)), count=2)
        self.assertEqual((row["state"], self.pushes(phone)), ("registered", []))

    @inlineCallbacks
    def test_sha_256_alone_wakes_the_app_from_the_first_day(self):
        yield self.begin()
        self.upper.rules.algorithm = "SHA-256"
        phone = yield self.asleep()
        self.before = len(self.upper.saw("REGISTER"))
        self.fall_due()
        yield self.happened(phone.diary, "registered", 2)
        self.assertEqual([push.payload["ntype"] for push in self.pushes(phone)], ["4"])
        self.assertEqual(self.sent()[0].has(b"authorization"), False, "an MD5 HA1 answers nothing here")
        yield until(lambda: self.row()["state"] == "registered", "by the app itself")

    @inlineCallbacks
    def test_challenges_without_end_are_given_up_and_the_password_with_them(self):
        yield self.sleeping()
        again = [self.upper.location.challenge(self.upper.reactor.seconds()).headers for _ in range(9)]
        row = yield self.meets(*(Reply(status=401, headers=headers) for headers in again), count=2)
        self.assertEqual((row["state"], row["last_code"]), ("rejected", 401))
        self.assertEqual((row["next_at"], len(self.sent())), (None, 2))
        self.flushLoggedErrors()

    @inlineCallbacks
    def test_nonces_that_are_stale_at_once_are_the_servers_fault(self):
        phone = yield self.sleeping()
        row = yield self.meets(*(Reply(stale=True) for _ in range(9)), count=3)
        self.assertEqual((row["state"], row["last_code"]), ("failing", 401))
        [user] = self.rows("select * from users")
        self.assertIsNotNone(user["ha1"], "the password is kept")
        self.assertEqual((len(self.sent()), self.pushes(phone)), (3, []))

    @inlineCallbacks
    def test_a_200_that_does_not_list_our_contact(self):
        yield self.sleeping()
        row = yield self.meets(Reply(status=200))
        self.assertEqual(row["state"], "registered")
        self.lasts(row, 3600, "as asked")
        row = yield self.meets(
            Reply(status=200, headers=((b"contact", b"<sip:desk@10.0.0.9>;expires=7"), (b"expires", b"900")))
        )
        self.lasts(row, 900, "as the header says")

    @inlineCallbacks
    def test_a_200_whose_contact_and_expires_differ(self):
        yield self.sleeping()
        ours = self.row()["contact"].encode()
        said = ((b"contact", b"<%s>;expires=300" % ours), (b"expires", b"3600"))
        row = yield self.meets(Reply(status=200, headers=said))
        self.lasts(row, 300, "the Contact counts")

    @inlineCallbacks
    def test_a_grant_of_nothing_is_not_asked_for_at_once_again(self):
        yield self.sleeping()
        ours = self.row()["contact"].encode()
        row = yield self.meets(Reply(status=200, headers=((b"contact", b"<%s>;expires=0" % ours),)))
        self.assertEqual((row["state"], len(self.sent())), ("failing", 1))
        self.assertGreater(row["next_at"], time.time() + 1)


class Settings(Odd):
    """Rows of the reference page that have no test elsewhere."""

    @inlineCallbacks
    def test_upper_expires_as_the_app_asked(self):
        yield self.begin(push="upper_expires = -1")
        yield self.awake(expires=777)
        self.assertEqual(self.upper.saw("REGISTER")[-1].request.expires, 777)

    @inlineCallbacks
    def test_upper_expires_in_seconds(self):
        yield self.begin(push="upper_expires = 1234")
        yield self.awake(expires=777)
        self.assertEqual(self.upper.saw("REGISTER")[-1].request.expires, 1234)

    @inlineCallbacks
    def test_keep_upper_registration_always_keeps_a_phone_without_push(self):
        for setting, kept in (("always", True), ("auto", False)):
            yield self.begin(push=f'keep_upper_registration = "{setting}"')
            proof = (b"x-piid", self.phone().identity.ha1(DOMAIN).encode())
            yield self.awake(provider="", headers=[proof], sends_ha1=False)
            self.assertEqual(self.row()["next_at"] is not None, kept, setting)
            yield self.world.stop()

    @inlineCallbacks
    def test_resume_on_start_those_seen_within_some_days(self):
        yield self.sleeping(push='resume_on_start = "2d"')
        for seen, state in ((86_400, "registered"), (3 * 86_400, "ended")):
            self.change("update users set last_seen_at = ?", time.time() - seen)
            yield self.world.restart()
            yield until(lambda state=state: self.row()["state"] == state, state)
            self.assertEqual(self.row()["next_at"] is None, state == "ended")

    @inlineCallbacks
    def test_client_max_offline_days_ends_what_is_kept_for_the_absent(self):
        yield self.sleeping(push='client_max_offline_days = "30d"')
        self.change("update users set last_seen_at = ?", time.time() - 31 * 86_400)
        self.fall_due()
        yield until(lambda: self.row()["state"] == "ended", "ended")
        self.assertEqual(self.sent(), [], "nobody is refreshed for the absent")

    @inlineCallbacks
    def test_remove_on_register_failure_may_be_off(self):
        yield self.begin(push__remove_on="register_failure = false")
        yield self.asleep()
        row = yield self.meets(Reply(status=403))
        self.assertEqual(row["state"], "rejected")
        yield self.written()
        self.assertEqual(len(self.rows("select * from push_tokens")), 1, "the device stays")
        self.flushLoggedErrors()

    @inlineCallbacks
    def test_remove_on_reject_may_be_off(self):
        yield self.begin(push__remove_on="reject = false")
        phone = yield self.awake()
        self.change("update users set state = 'banned'")
        self.sbc.registrar.bar([("bob", DOMAIN)])
        response = yield phone.register()
        self.assertEqual(response.status, 403)
        yield self.written()
        self.assertEqual(len(self.rows("select * from bindings")), 1)

    @inlineCallbacks
    def test_remove_on_push_failure(self):
        for wanted, left in (("true", 0), ("false", 1)):
            yield self.begin(push__remove_on=f"push_failure = {wanted}")
            phone = yield self.asleep()
            dead = Answer(status=410, reason="Unregistered", timestamp_at=time.time() + 1)
            self.apns.script.plan(phone.token.prid, dead)
            status = yield self.final(self.upper.place_call("bob"))
            self.assertEqual(status, 480)
            yield until(lambda: self.rows("select * from pushes"), "the push is noted")
            yield self.written()
            if wanted == "true":
                yield until(lambda: not self.rows("select * from bindings"), "gone")
            self.assertEqual(len(self.rows("select * from bindings")), left, wanted)
            yield self.world.stop()

    @inlineCallbacks
    def test_remove_on_missing_prid(self):
        for wanted, left in (("true", 0), ("false", 1)):
            yield self.begin(push__remove_on=f"missing_prid = {wanted}")
            phone = yield self.awake(dialect="rfc8599", instance="urn:uuid:00000000-0000-1000-8000-000000000001")
            self.assertEqual(len(self.rows("select * from push_tokens")), 1)
            contact = b'<sip:bob@127.0.0.3:5999;pn-provider=apns>;+sip.instance="<%s>"' % phone.instance.encode()
            self.upper.rules.challenge = False
            response = yield self.stranger().ask(
                "REGISTER", f"sip:{DOMAIN}", self.world.sip, (b"contact", contact), to=f"<sip:bob@{DOMAIN}>"
            )
            self.assertEqual(response.status, 200)
            yield self.written()
            if wanted == "true":
                yield until(lambda: not self.rows("select * from push_tokens"), "gone")
            self.assertEqual(len(self.rows("select * from push_tokens")), left, wanted)
            yield self.world.stop()


class Mirrored(Odd):
    """`registrar.mode = "mirror"`: each device is a Contact of its own, also while it sleeps."""

    @inlineCallbacks
    def two(self, **more):
        yield self.begin(registrar='mode = "mirror"', **more)
        first = yield self.awake()
        second = yield self.awake(host="127.0.0.4")
        return first, second

    def contacts(self):
        return {each.uri for each in self.upper.location.contacts("bob", self.upper.reactor.seconds())}

    @inlineCallbacks
    def test_an_unregister_is_converted_for_this_device_alone(self):
        first, second = yield self.two()
        contacts = self.contacts()
        response = yield second.register(expires=0)
        self.assertEqual(response.status, 200)
        self.assertEqual((self.contacts(), len(contacts)), (contacts, 2))
        self.assertEqual(len(self.upper.saw("REGISTER")[-1].request.contacts), 1, "the other is not spoken of")
        yield self.fall_asleep(second)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual((len(self.pushes(first)), len(self.pushes(second))), (0, 1))

    @inlineCallbacks
    def test_each_contact_is_refreshed_while_its_device_sleeps(self):
        first, second = yield self.two()
        for phone in (first, second):
            yield self.fall_asleep(phone)
        self.before = len(self.upper.saw("REGISTER"))
        self.fall_due()
        yield until(lambda: not self.rows("select 1 from upper_registrations where next_at < ?", time.time()), "taken")
        yield until(lambda: len(self.sent()) >= 4, "each challenged and accepted")
        self.assertEqual({request.contacts[0].uri.render() for request in self.sent()}, self.contacts())
        self.assertEqual((self.pushes(first), self.pushes(second)), ([], []))

    @inlineCallbacks
    def test_a_device_without_push_goes_by_time_and_its_contact_with_it(self):
        yield self.begin(registrar='mode = "mirror"')
        yield self.asleep()
        yield self.awake(host="127.0.0.4", provider="", user_agent="Desk/1", sends_ha1=False)
        self.assertEqual(len(self.contacts()), 2)
        self.change("update bindings set expires_at = 1")
        yield self.sbc.store.write(ExpireBindings(time.time()))
        [left] = self.rows("select * from bindings")
        self.assertTrue(left["push"], "the sleeping one does not end by time")
        [row] = self.rows("select * from upper_registrations")
        self.assertEqual(row["binding_id"], left["id"])
