"""REGISTER and requests for sleeping phones on the wire (sections 4 and 5)."""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode

from twisted.internet.defer import gatherResults, inlineCallbacks

from sbc.lab.call import OutgoingCall
from sbc.lab.script import Answer
from sbc.lab.upper import Reply
from sbc.registrar import registrar
from sbc.sip.uri import Uri
from sbc.store import Execute
from tests.flow.scene import DOMAIN, FlowCase, pause, until


def caps(response):
    return response.lines(b"feature-caps")


class Promises(FlowCase):
    @inlineCallbacks
    def registered(self, *, push="", **more):
        yield self.begin(push=push)
        phone = self.phone(**{"dialect": "rfc8599", **more})
        response = yield phone.start()
        return phone, response

    @inlineCallbacks
    def test_statement_06_an_app_of_another_dialect_hears_nothing(self):
        _, response = yield self.registered(dialect="x-mpush")
        self.assertEqual((response.status, caps(response)), (200, []))

    @inlineCallbacks
    def test_statement_07_a_chained_registration_is_left_alone(self):
        chain = [(b"feature-caps", b'*;+sip.pns="apns"')]
        phone, response = yield self.registered(headers=chain)
        self.assertEqual((response.status, caps(response)), (200, []))
        self.assertEqual(self.rows("select * from push_tokens"), [])
        yield self.fall_asleep(phone)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 480)
        self.assertEqual(self.pushes(phone), [], "no push by us")

    @inlineCallbacks
    def test_statement_08_an_unknown_app_is_registered_without_promise(self):
        yield self.begin(changes={'id = "com.example.phone"': 'id = "com.example.other"'})
        response = yield self.phone(dialect="rfc8599").start()
        self.assertEqual((response.status, caps(response)), (200, []))
        self.assertIsNotNone(self.upper.contact_of("bob"))

    @inlineCallbacks
    def test_statement_08_or_gets_555(self):
        yield self.begin(push="send_555 = true", changes={'id = "com.example.phone"': 'id = "com.example.other"'})
        response = yield self.phone(dialect="rfc8599").start()
        self.assertEqual(response.status, 555)
        self.assertEqual(self.upper.saw("REGISTER"), [], "nobody else is asked")

    @inlineCallbacks
    def test_statement_09_a_short_registration_is_refused_with_the_least(self):
        _, response = yield self.registered(push='short_registration = "423"', sends_ha1=False, expires=60)
        self.assertEqual(response.status, 200, "the phone asks for longer")
        self.assertEqual(len(caps(response)), 1)

    @inlineCallbacks
    def test_statement_09_or_registered_without_promise(self):
        _, response = yield self.registered(sends_ha1=False, expires=60)
        self.assertEqual((response.status, caps(response)), (200, []))
        self.assertEqual(self.rows("select * from push_tokens"), [])

    @inlineCallbacks
    def test_statement_09_with_a_stored_ha1_any_length_will_do(self):
        phone, response = yield self.registered(expires=60)
        self.assertEqual(len(caps(response)), 1)
        phone.sends_ha1 = False
        response = yield phone.register()
        self.assertEqual(len(caps(response)), 1, "it is stored")

    @inlineCallbacks
    def test_statement_10_the_phone_hears_it_and_the_upper_server_does_not(self):
        _, response = yield self.registered()
        [value] = caps(response)
        self.assertTrue(value.startswith(b'*;+sip.pns="apns"'))
        for seen in self.upper.saw("REGISTER"):
            self.assertFalse(seen.request.has(b"feature-caps"))
            self.assertNotIn(b"pn-", seen.request.render())
        self.assertEqual(len(self.rows("select * from push_tokens")), 1)

    @inlineCallbacks
    def test_statement_10_and_19_an_upper_server_that_pushes_too_hears_what_the_2xx_repeats(self):
        phone, response = yield self.registered(push="announce_upward = true")
        for seen in self.upper.saw("REGISTER"):
            self.assertEqual(caps(seen.request), [b'*;+sip.pns="apns"'])
            self.assertNotIn(b"pn-p", seen.request.render(), "no token goes up all the same")
        [value] = caps(response)
        self.assertTrue(value.startswith(b'*;+sip.pns="apns"'), "and the PURR is for the phone alone")
        phone.token = None
        before = len(self.upper.saw("REGISTER"))
        yield phone.register()
        self.assertTrue(len(self.upper.saw("REGISTER")) > before)
        self.assertEqual(caps(self.upper.saw("REGISTER")[-1].request), [], "nothing where nothing is promised")

    @inlineCallbacks
    def test_statement_19_credentials_that_come_meanwhile_promise_nothing_afterwards(self):
        yield self.begin(changes={'id = "com.example.phone"': 'id = "com.example.other"'})
        phone = self.phone(dialect="rfc8599")
        find = self.sbc.push.ready
        answers = [False, True]
        self.patch(self.sbc.push, "ready", lambda token: answers.pop(0) if answers else find(token))
        response = yield phone.start()
        self.assertEqual((response.status, caps(response)), (200, []))
        self.assertEqual(self.rows("select * from push_tokens"), [])

    @inlineCallbacks
    def test_statement_11_a_short_grant_of_the_upper_server(self):
        yield self.begin()
        self.upper.rules.expires = 60
        phone = self.phone(dialect="rfc8599", sends_ha1=False)
        response = yield phone.start()
        self.assertEqual((response.status, caps(response)), (200, []))
        yield self.fall_asleep(phone)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual((status, self.pushes(phone)), (480, []))

    @inlineCallbacks
    def test_statement_13_a_browser_hears_the_vapid_key(self):
        yield self.begin(providers=("webpush",))
        response = yield self.phone(provider="webpush", dialect="rfc8599").start()
        [value] = caps(response)
        key = urlsafe_b64encode(self.world.authority.vapid_public_key()).rstrip(b"=")
        self.assertIn(b'+sip.vapid="' + key + b'"', value)

    @inlineCallbacks
    def test_statement_15_a_challenge_and_a_refusal_say_nothing(self):
        phone, response = yield self.registered(password="wrong")
        self.assertEqual((response.status, caps(response)), (403, []))
        for heard in phone.party.heard:
            self.assertFalse(heard.message.has(b"feature-caps"))

    @inlineCallbacks
    def test_statement_17_a_question_about_everything(self):
        yield self.begin(providers=("apns", "fcm", "webpush"))
        self.upper.rules.challenge = False
        contact = (b"contact", b"<sip:bob@127.0.0.3:5999;ob;pn-provider>;expires=600")
        asked = self.stranger().ask("REGISTER", f"sip:{DOMAIN}", self.world.sip, contact, to=f"<sip:bob@{DOMAIN}>")
        response = yield asked
        self.assertEqual([value.split(b";")[1] for value in caps(response)],
                         [b'+sip.pns="apns"', b'+sip.pns="fcm"', b'+sip.pns="webpush"'])  # fmt: skip
        self.assertEqual(self.rows("select * from users"), [])

    @inlineCallbacks
    def test_statement_20_no_other_request_gets_555(self):
        yield self.begin(push="send_555 = true")
        phone = yield self.awake(dialect="none")
        contact = (b"contact", b"<sip:bob@127.0.0.3:5999;pn-provider=acme;pn-prid=x>")
        for method in ("MESSAGE", "OPTIONS", "SUBSCRIBE"):
            response = yield phone.send(method, "nobody", headers=[contact])
            self.assertNotEqual(response.status, 555, method)

    @inlineCallbacks
    def test_statement_21_who_unregisters_is_not_pushed_where_the_settings_say_so(self):
        phone, _ = yield self.registered(push='unregister = "allow"')
        yield phone.register(expires=0)
        yield self.fall_asleep(phone)
        self.assertEqual(self.rows("select * from push_tokens"), [])
        self.assertIsNone(self.upper.contact_of("bob"))
        self.assertEqual(self.pushes(phone), [])

    @inlineCallbacks
    def test_statement_21_by_app(self):
        yield self.begin(changes={'id = "com.example.phone"': 'id = "com.example.phone"\nunregister = "allow"'})
        phone = yield self.awake(dialect="rfc8599")
        response = yield phone.register(expires=0)
        self.assertEqual((response.status, self.rows("select * from bindings")), (200, []))
        self.assertIsNone(self.upper.contact_of("bob"))

    @inlineCallbacks
    def test_statement_21_and_the_others_stay(self):
        yield self.begin(
            push='unregister = "allow"',
            changes={'id = "com.example.phone"': 'id = "com.example.phone"\nunregister = "convert"'},
        )
        phone = yield self.awake(dialect="rfc8599")
        token, phone.token = phone.token, None
        response = yield phone.register(expires=0)
        self.assertEqual(response.status, 200)
        phone.token = token
        yield phone.register(expires=0)
        yield self.fall_asleep(phone)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual((status, len(self.pushes(phone))), (200, 1))

    @inlineCallbacks
    def expired(self, **more):
        """What a caller hears whose phone let its registration run out, and how often the phone was pushed."""
        phone, _ = yield self.registered(expires=600, **more)
        yield self.fall_asleep(phone)
        gone = "update bindings set expires_at = expires_at - 100000"
        yield self.sbc.store.write(Execute(lambda connection: connection.exec_driver_sql(gone)))
        status = yield self.final(self.upper.place_call("bob"))
        return status, len(self.pushes(phone))

    @inlineCallbacks
    def test_statement_21_an_expired_binding_is_not_pushed(self):
        heard = yield self.expired(push='unregister = "allow"', sends_ha1=False)
        self.assertEqual(heard, (480, 0))

    @inlineCallbacks
    def test_statement_21_unless_we_keep_it_alive_or_are_told_to_push_it_all_the_same(self):
        heard = yield self.expired(push='unregister = "allow"')
        self.assertEqual(heard, (200, 1), "kept alive by its HA1")

    @inlineCallbacks
    def test_statement_21_with_the_default_the_binding_lives_on(self):
        heard = yield self.expired(sends_ha1=False)
        self.assertEqual(heard, (200, 1))

    @inlineCallbacks
    def test_statement_39_every_answer_has_the_purr(self):
        phone, response = yield self.registered()
        first = phone.purr
        self.assertEqual(len(first), 32)
        response = yield phone.register()
        self.assertEqual(response.status, 200)
        self.assertEqual(phone.purr, first)
        [token] = self.rows("select purr from push_tokens")
        self.assertEqual(token["purr"].encode(), first)

    @inlineCallbacks
    def test_statement_46_a_token_in_the_clear_is_warned_about(self):
        told = []
        self.patch(registrar.log, "warn", lambda text, **values: told.append(text))
        _, response = yield self.registered()
        self.assertEqual(response.status, 200)
        self.assertEqual(len([text for text in told if "readable on the way" in text]), 1)

    @inlineCallbacks
    def test_statement_47_a_token_is_stored_after_the_upper_server_has_agreed(self):
        yield self.registered(password="wrong")
        self.assertEqual(self.rows("select * from push_tokens"), [])

    @inlineCallbacks
    def test_statement_48_a_token_of_another_user_leaves_the_former_one(self):
        phone, _ = yield self.registered()
        other = self.phone("carol", dialect="rfc8599")
        other.token = phone.token
        yield other.start()
        [token] = self.rows("select u.username from push_tokens t join users u on u.id = t.user_id")
        self.assertEqual(token["username"], "carol")
        yield self.fall_asleep(phone)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual((status, self.pushes(phone)), (480, []))


class Requests(FlowCase):
    @inlineCallbacks
    def sleeping(self, **more):
        push = more.pop("push", "")
        yield self.begin(push=push)
        phone = yield self.asleep(**{"dialect": "rfc8599", **more})
        return phone

    @inlineCallbacks
    def test_statement_24_who_gave_no_token_is_not_pushed(self):
        phone = yield self.sleeping(dialect="none")
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual((status, self.pushes(phone)), (480, []))

    @inlineCallbacks
    def test_statement_25_and_26_one_push_and_the_request_at_the_new_contact(self):
        phone = yield self.sleeping()
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual((status, len(self.pushes(phone))), (200, 1))
        [invite] = phone.saw("INVITE")
        self.assertIn(phone.wire.address, invite.request.uri, "the new Contact")

    @inlineCallbacks
    def test_statement_25_a_message_too(self):
        phone = yield self.sleeping()
        response = yield self.upper.send_message("bob", "hello")
        self.assertEqual((response.status, len(self.pushes(phone)), len(phone.saw("MESSAGE"))), (200, 1, 1))

    @inlineCallbacks
    def test_statement_28_a_challenge_before_the_2xx_is_still_one_invite(self):
        phone = yield self.sleeping()
        self.upper.location.forget_nonces()
        before = len(self.upper.saw("REGISTER"))
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertGreaterEqual(len(self.upper.saw("REGISTER")) - before, 2, "401, then 200")
        self.assertEqual(len(phone.saw("INVITE")), 1)
        self.assertGreaterEqual(phone.saw("INVITE")[0].at, phone.diary.all("registered")[1].at - 0.001)

    @inlineCallbacks
    def test_statement_29_a_refused_register_brings_no_invite(self):
        phone = yield self.sleeping(push='max_wait = "1500ms"')
        self.upper.script.always("REGISTER", Reply(status=403))
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual((status, phone.saw("INVITE")), (480, []))

    @inlineCallbacks
    def test_statement_29_the_caller_hears_it_at_once(self):
        phone = yield self.sleeping()
        self.upper.script.always("REGISTER", Reply(status=403))
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual((status, phone.saw("INVITE")), (480, []))
        [_, told] = yield self.record(call)
        self.in_order(told, "push_sent", "branch_failed", "ended")

    @inlineCallbacks
    def test_statement_29_passing_trouble_of_the_upper_server_ends_no_wait(self):
        phone = yield self.sleeping()
        self.upper.script.plan("REGISTER", Reply(status=503))
        call = self.upper.place_call("bob")
        yield self.happened(phone.diary, "refused")
        response = yield phone.register()
        self.assertEqual(response.status, 200)
        status = yield self.final(call)
        self.assertEqual((status, len(phone.saw("INVITE"))), (200, 1))

    @inlineCallbacks
    def test_statement_29_who_does_not_have_the_token_ends_no_wait(self):
        phone = yield self.sleeping(wake_delay=0.6)
        call = self.upper.place_call("bob")
        yield self.happened(phone.diary, "push")
        stranger = self.phone(dialect="rfc8599", host="127.0.0.9", password="guessed")
        response = yield stranger.start()
        self.assertGreaterEqual(response.status, 400)
        status = yield self.final(call)
        self.assertEqual((status, len(phone.saw("INVITE"))), (200, 1))

    @inlineCallbacks
    def test_statement_30_a_refused_push_ends_the_wait_at_once(self):
        phone = yield self.sleeping()
        self.apns.script.plan(phone.token.prid, Answer(status=410, reason="Unregistered", timestamp_at=time.time() + 1))
        started = time.monotonic()
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 480)
        self.assertLess(time.monotonic() - started, 2.0)

    @inlineCallbacks
    def test_statement_31_a_wait_ends_in_480_and_a_message_in_time_for_its_sender(self):
        phone = yield self.sleeping(push='max_wait = "1s"', killed=True)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual((status, len(self.pushes(phone))), (480, 1))
        self.assertLessEqual(self.sbc.derived.calls.max_wait_non_invite, 20.0)

    @inlineCallbacks
    def test_statement_32_a_phone_known_to_be_awake_is_not_pushed(self):
        yield self.begin()
        phone = yield self.awake(dialect="rfc8599")
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual((status, self.pushes(phone)), (200, []))

    @inlineCallbacks
    def test_statement_33_a_caller_who_gives_up_is_heard_at_once(self):
        phone = yield self.sleeping(wake_delay=0.4)
        call = self.upper.place_call("bob")
        yield self.happened(phone.diary, "push")
        call.cancel()
        status = yield self.final(call)
        self.assertEqual(status, 487)
        yield self.happened(phone.diary, "registered", 2)
        yield pause(0.2)
        self.assertEqual(phone.saw("INVITE"), [])

    @inlineCallbacks
    def test_statement_34_two_calls_for_one_device_are_both_delivered(self):
        phone = yield self.sleeping(wake_delay=0.3)
        calls = [self.upper.place_call("bob", caller=caller) for caller in ("alice", "carol")]
        statuses = yield gatherResults([self.final(call) for call in calls])
        self.assertEqual((statuses, len(phone.saw("INVITE"))), ([200, 200], 2))
        self.assertLessEqual(len(self.pushes(phone)), 2)

    @inlineCallbacks
    def test_statement_35_a_plain_user_is_called_as_ever(self):
        yield self.begin()
        phone = yield self.awake(provider="")
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual((status, len(phone.saw("INVITE"))), (200, 1))

    @inlineCallbacks
    def test_statement_43_replaces_wakes_the_device_that_has_the_dialog(self):
        yield self.begin()
        phone = yield self.awake(dialect="rfc8599")
        other = yield self.awake(dialect="rfc8599", host="127.0.0.4", answer_delay=None)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(self.ringing(phone).diary, "ack")
        yield self.fall_asleep(phone)
        target, tag = call.dialog.target, call.dialog.remote.partition(b";tag=")[2]
        wire = yield self.upper.reach(Uri.parse(target))
        replaces = (b"replaces", call.call_id + b";to-tag=" + tag + b";from-tag=" + call.tag)
        third = OutgoingCall(self.upper, None)
        bob = b"<sip:bob@pbx.example.com>"
        third.invite(target, wire, from_=b"<sip:carol@pbx.example.com>", to=bob, route=[], headers=[replaces])
        status = yield self.final(third)
        self.assertEqual(status, 200)
        self.assertEqual(len(self.pushes(phone)), 1)
        self.assertIn(b";to-tag=" + tag, phone.saw("INVITE")[-1].request.first(b"replaces"))
        self.assertEqual(len(other.saw("INVITE")), 1, "of the first call")

    @inlineCallbacks
    def test_statement_45_no_peer_and_no_log_sees_a_token(self):
        phone = yield self.sleeping()
        call = self.upper.place_call("bob")
        yield self.final(call)
        for heard in self.upper.party.heard:
            text = heard.message.render()
            for private in (b"pn-p", b"x-mpush", phone.token.prid.encode()):
                self.assertNotIn(private, text)
        yield call.hang_up()
        yield self.record(call)
        for row in self.rows("select kind, detail from call_events"):
            self.assertNotIn(phone.token.prid, row["detail"])

    @inlineCallbacks
    def test_statement_49_two_devices_are_pushed_each_on_its_own(self):
        yield self.begin()
        phones = []
        for host in ("127.0.0.4", "127.0.0.5"):
            phones.append((yield self.asleep(dialect="rfc8599", host=host)))
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        yield until(lambda: all(len(self.pushes(phone)) == 1 for phone in phones), "a push for each")
        yield until(lambda: all(len(phone.saw("INVITE")) == 1 for phone in phones), "both ring")
