"""REGISTER through the SBC: what goes up, what is kept, how a registration ends."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks

from sbc.lab.world import BORDER
from sbc.sip.digest import ha1
from sbc.store.operations import SaveRegistration
from tests.flow.scene import DOMAIN, USERS, FlowCase, until

PRIVATE = (b"x-mpush", b"x-piid", b"pn-", b"push-token", b"app-id", b"pnspurr")


class Registering(FlowCase):
    @inlineCallbacks
    def passes_the_challenge(self, transport: str, dialect: str) -> Any:
        yield self.begin()
        phone = yield self.awake(transport=transport, dialect=dialect, headers=[(b"x-sy.uppersrv", b"elsewhere")])
        first, second = self.upper.saw("REGISTER")
        self.assertFalse(first.request.has(b"authorization"))
        self.assertTrue(second.request.has(b"authorization"))
        for seen in (first, second):
            text = seen.request.render().lower()
            for private in (*PRIVATE, b"x-sy.", phone.token.prid.encode(), BORDER.encode() + b"X"):
                self.assertNotIn(private, text)
            self.assertNotIn(phone.party.host.encode(), text, "the phone's address is hidden")
        contact = self.upper.contact_of("bob")
        self.assertIn(BORDER.encode(), contact.uri)
        [user] = self.rows("select * from users")
        self.assertEqual((user["username"], user["domain"], user["realm"]), ("bob", DOMAIN, DOMAIN))
        [token] = self.rows("select * from push_tokens")
        self.assertEqual((token["provider"], token["state"]), ("apns", "live"))

    def test_a_challenge_passes_over_udp(self) -> Any:
        return self.passes_the_challenge("udp", "x-mpush")

    def test_a_challenge_passes_over_tcp(self) -> Any:
        return self.passes_the_challenge("tcp", "rfc8599")

    def test_header_parameters_are_stripped_too(self) -> Any:
        return self.passes_the_challenge("udp", "rfc8599-header")

    def test_older_dialects_are_stripped_too(self) -> Any:
        return self.passes_the_challenge("tcp", "kazoo")

    @inlineCallbacks
    def test_secrets_are_not_clear_text_in_the_database(self):
        yield self.begin()
        phone = yield self.awake()
        [user] = self.rows("select * from users")
        self.assertIsNotNone(user["ha1"])
        secret = ha1("bob", DOMAIN, USERS["bob"])
        for path in self.world.directory.glob("sbc.db*"):
            data = path.read_bytes()
            self.assertNotIn(secret.encode(), data)
            self.assertNotIn(bytes.fromhex(secret), data)
            self.assertNotIn(phone.token.prid.encode(), data)

    @inlineCallbacks
    def test_an_ha1_of_wrong_length_is_ignored(self):
        yield self.begin()
        yield self.awake(sends_ha1=False, headers=[(b"x-piid", b"abcdef")])
        [user] = self.rows("select * from users")
        self.assertIsNone(user["ha1"])

    @inlineCallbacks
    def test_an_ha1_that_does_not_explain_the_digest_is_dropped(self):
        yield self.begin()
        yield self.awake(sends_ha1=False, headers=[(b"x-piid", b"ab" * 16)])
        [user] = self.rows("select * from users")
        self.assertIsNone(user["ha1"])

    @inlineCallbacks
    def test_a_wrong_password_stores_nothing(self):
        yield self.begin()
        response = yield self.phone(password="wrong").start()
        self.assertEqual(response.status, 403)
        self.assertEqual(self.rows("select * from users"), [])
        self.assertEqual(self.rows("select * from push_tokens"), [])

    @inlineCallbacks
    def test_a_capability_query_stores_nothing_and_the_phone_can_be_called_all_the_same(self):
        yield self.begin()
        self.upper.rules.challenge = False
        secret = (b"x-piid", ha1("bob", DOMAIN, USERS["bob"]).encode())
        uri, to = f"sip:{DOMAIN}", f"<sip:bob@{DOMAIN}>"
        stranger = self.stranger()
        contact = (b"contact", b"<sip:bob@127.0.0.3:5999;ob;pn-provider>;expires=600")
        response = yield stranger.ask("REGISTER", uri, self.world.sip, contact, secret, to=to)
        self.assertEqual(response.status, 200)
        self.assertEqual(response.lines(b"feature-caps"), [b'*;+sip.pns="apns"'])
        for table in ("users", "bindings", "push_tokens", "upper_registrations"):
            self.assertEqual(self.rows(f"select * from {table}"), [], table)
        response = yield self.upper.send_message("bob", "are you there?")
        self.assertEqual(response.status, 200)
        self.assertEqual([request.method for request in stranger.arrivals], [b"MESSAGE"])

    @inlineCallbacks
    def test_a_phone_that_comes_back_from_another_port_is_the_same_device(self):
        yield self.begin()
        phone = yield self.awake(transport="udp")
        [before] = self.rows("select * from bindings")
        yield phone.sleep()
        yield phone.wake()
        [after] = self.rows("select * from bindings")
        self.assertEqual(before["id"], after["id"])
        self.assertNotEqual(before["source"], after["source"])
        self.assertEqual(len(self.upper.location.users["bob"]), 1, "one Contact for the upper server")

    @inlineCallbacks
    def test_a_token_said_once_stays_although_later_registers_do_not_say_it(self):
        yield self.begin()
        phone = yield self.awake()
        phone.dialect = "none"
        yield phone.register()
        yield phone.sleep()
        yield phone.wake()
        self.assertEqual(len(self.rows("select * from bindings")), 1)
        self.assertEqual(len(self.rows("select * from push_tokens")), 1)

    @inlineCallbacks
    def test_a_new_token_takes_the_place_of_the_old_one(self):
        yield self.begin()
        phone = yield self.awake()
        phone.change_token(self.world.token("apns"))
        yield phone.register()
        yield until(lambda: len(self.rows("select * from bindings")) == 1, "one device is left")
        self.assertEqual(len(self.rows("select * from push_tokens")), 1)
        yield self.fall_asleep(phone)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual(len(self.pushes(phone)), 1)


class Unregistering(FlowCase):
    @inlineCallbacks
    def test_converted_it_goes_up_as_a_register_and_keeps_the_device(self):
        yield self.begin()
        phone = yield self.awake()
        response = yield phone.register(expires=0)
        self.assertEqual(response.status, 200)
        last = self.upper.saw("REGISTER")[-1].request
        self.assertNotIn(b"expires=0", last.first(b"contact"))
        self.assertIsNotNone(self.upper.contact_of("bob"))
        self.assertEqual(len(self.rows("select * from bindings")), 1)

    @inlineCallbacks
    def test_ignored_it_is_answered_here(self):
        yield self.begin(push='unregister = "ignore"')
        phone = yield self.awake()
        before = len(self.upper.saw("REGISTER"))
        response = yield phone.register(expires=0)
        self.assertEqual(response.status, 200)
        self.assertEqual(len(self.upper.saw("REGISTER")), before)
        self.assertEqual(len(self.rows("select * from bindings")), 1)

    @inlineCallbacks
    def test_allowed_it_ends_the_registration(self):
        yield self.begin(push='unregister = "allow"')
        phone = yield self.awake()
        response = yield phone.register(expires=0)
        self.assertEqual(response.status, 200)
        self.assertIsNone(self.upper.contact_of("bob"))
        self.assertEqual(self.rows("select * from bindings"), [])
        self.assertEqual(self.rows("select * from push_tokens"), [])

    @inlineCallbacks
    def test_a_null_token_in_a_register_ends_push_but_not_the_registration(self):
        yield self.begin()
        phone = yield self.awake()
        response = yield phone.register(unbind=True)
        self.assertEqual(response.status, 200)
        self.assertEqual(self.rows("select * from push_tokens"), [])
        self.assertIsNotNone(self.upper.contact_of("bob"))
        call = self.upper.place_call("bob")
        yield self.final(call)
        self.assertEqual(len(phone.saw("INVITE")), 1)

    @inlineCallbacks
    def test_a_null_token_with_an_unregister_ends_everything(self):
        yield self.begin()
        phone = yield self.awake()
        response = yield phone.register(expires=0, unbind=True)
        self.assertEqual(response.status, 200)
        self.assertIsNone(self.upper.contact_of("bob"))
        self.assertEqual(self.rows("select * from bindings"), [])
        self.assertEqual(self.rows("select * from push_tokens"), [])

    @inlineCallbacks
    def test_a_star_keeps_a_push_device_and_ends_it_where_that_is_allowed(self):
        for setting, left in (("convert", 1), ("allow", 0)):
            yield self.begin(push=f'unregister = "{setting}"')
            self.upper.rules.challenge = False
            yield self.awake()
            star, uri, to = (b"contact", b"*"), f"sip:{DOMAIN}", f"<sip:bob@{DOMAIN}>"
            response = yield self.stranger().ask("REGISTER", uri, self.world.sip, star, (b"expires", b"0"), to=to)
            self.assertEqual(response.status, 200)
            self.assertEqual(len(self.rows("select * from bindings")), left, setting)
            self.assertEqual(self.upper.contact_of("bob") is not None, bool(left), setting)
            yield self.world.stop()

    @inlineCallbacks
    def test_a_desk_phone_may_unregister_although_the_users_mobile_has_push(self):
        yield self.begin()
        mobile = yield self.awake()
        desk = yield self.awake(provider="", user_agent="Desk/1", host="127.0.0.4")
        self.assertEqual(len(self.rows("select * from bindings")), 2)
        response = yield desk.register(expires=0)
        self.assertEqual(response.status, 200)
        [left] = self.rows("select * from bindings")
        self.assertTrue(left["push"])
        self.assertIsNotNone(self.upper.contact_of("bob"))
        yield self.final(self.upper.place_call("bob"))
        self.assertEqual((len(mobile.saw("INVITE")), len(desk.saw("INVITE"))), (1, 0))

    @inlineCallbacks
    def test_a_sleeping_converted_phone_is_pushed(self):
        yield self.begin()
        phone = yield self.awake()
        yield phone.register(expires=0)
        yield self.fall_asleep(phone)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual(len(self.pushes(phone)), 1)


class Gone(FlowCase):
    @inlineCallbacks
    def test_a_connection_that_ends_before_its_register_is_stored(self):
        """Nobody lives on it, and nobody is told that its device is awake."""
        yield self.begin()
        phone = self.phone("bob")
        write, news = self.sbc.store.write, []
        self.patch(self.sbc.registrar, "awake", news.append)

        told = Deferred()

        def slow(operation):
            done = write(operation)
            if isinstance(operation, SaveRegistration):
                phone.party.close()
                done.addCallback(lambda result: told.addCallback(lambda _: result))
            return done

        self.patch(self.sbc.store, "write", slow)
        phone.start().addErrback(lambda failure: None)
        yield until(lambda: self.rows("select * from bindings"), "the REGISTER is stored")
        yield until(lambda: not any(flow.open for flow in self.flows(phone)), "the end of its connection")
        told.callback(None)
        self.assertEqual((len(self.sbc.registrar.live), news), (0, []))
