"""REGISTER on the wire (section 4)."""

from __future__ import annotations

from base64 import urlsafe_b64encode

from twisted.internet.defer import inlineCallbacks

from sbc.registrar import registrar
from sbc.store import Execute
from tests.flow.scene import DOMAIN, FlowCase


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
