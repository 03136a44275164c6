"""Requests too large for a datagram: by TCP to a server that takes it, by UDP to others (RFC 3261 18.1.1)."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks

from sbc.lab.upper import Upper
from sbc.transport import fitting
from sbc.transport.flow import Destination
from tests.flow.scene import DOMAIN, USERS, Calls, pause, until

LARGE = [(b"subject", b"x" * 1_500)]


class Large(Calls):
    """The upper server's URI says UDP; in a dialog it wants to be spoken to as it was first."""

    def came(self, method):
        """The requests of a method at the upper server, and by what each came."""
        return [(seen.request, seen.transport) for seen in self.upper.saw(method)]

    @inlineCallbacks
    def only_udp(self):
        """An upper server that takes no TCP stands in for the usual one."""
        yield self.upper.stop()
        self.world.upper = Upper(
            reactor, host="127.0.0.2", users=USERS, domain=DOMAIN, transports=("udp",), port=self.upper.port
        )
        self.upper = self.world.upper
        yield self.upper.start()
        self.upper.answering["echo"] = 0.05

    @inlineCallbacks
    def test_a_large_invite_goes_by_tcp_and_a_small_register_by_udp(self):
        yield self.begin()
        self.upper.answering["echo"] = 0.05
        phone = yield self.awake(transport="udp", talks=True)
        call = phone.call("echo", headers=LARGE)
        status = yield self.final(call)
        self.assertEqual(status, 200)
        [(invite, transport)] = self.came("INVITE")
        self.assertEqual((transport, invite.via.transport), (b"TCP", b"TCP"))
        self.assertTrue(invite.via.branch.startswith(b"z9hG4bK"))
        self.assertEqual(len(invite.vias), 1)
        yield call.hang_up()
        self.assertEqual({transport for _, transport in self.came("REGISTER")}, {b"UDP"})

    @inlineCallbacks
    def test_a_large_register_message_and_request_inside_a_dialog(self):
        yield self.begin()
        self.upper.answering["bob2"] = 0
        phone, call, _ = yield self.calling()
        response = yield call.ask(b"INFO", *LARGE)
        self.assertEqual(response.status, 200)
        self.assertEqual([transport for _, transport in self.came("INFO")], [b"TCP"])
        yield call.hang_up()
        yield phone.send("MESSAGE", "bob2", body=b"x" * 1_500)
        self.assertEqual({transport for _, transport in self.came("MESSAGE")}, {b"TCP"})
        stranger = self.stranger()
        yield stranger.ask("REGISTER", f"sip:{DOMAIN}", self.world.sip, *LARGE, to=f"<sip:carol@{DOMAIN}>")
        self.assertEqual(self.came("REGISTER")[-1][1], b"TCP")

    @inlineCallbacks
    def test_a_server_without_tcp_gets_the_datagram_and_the_next_one_at_once(self):
        yield self.begin()
        yield self.only_udp()
        phone = yield self.awake(transport="udp", talks=True)
        for count in (1, 2):
            call = phone.call("echo", headers=LARGE)
            status = yield self.final(call)
            self.assertEqual(status, 200)
            yield call.hang_up()
            self.assertEqual([transport for _, transport in self.came("INVITE")], [b"UDP"] * count)
        self.assertEqual({invite.via.transport for invite, _ in self.came("INVITE")}, {b"UDP"})

    @inlineCallbacks
    def test_a_server_that_swallows_connections_costs_a_moment_once(self):
        self.patch(fitting, "STREAM_PATIENCE", 0.2)
        yield self.begin()
        yield self.only_udp()
        asked = []

        def swallowed(where: Destination, *, side: str) -> Deferred:
            if where.transport != b"TCP":
                return connect(where, side=side)
            asked.append(where)
            return Deferred()

        connect = self.sbc.transports.connect
        self.patch(self.sbc.transports, "connect", swallowed)
        phone = yield self.awake(transport="udp", talks=True)
        for _ in range(2):
            call = phone.call("echo", headers=LARGE)
            status = yield self.final(call)
            self.assertEqual(status, 200)
            yield call.hang_up()
        self.assertEqual(len(asked), 1)

    @inlineCallbacks
    def test_who_gives_up_while_the_connection_is_opened_leaves_nothing_behind(self):
        yield self.begin()
        phone = yield self.awake(transport="udp", talks=True)
        opening = []

        def slow(where: Destination, *, side: str) -> Deferred:
            if where.transport != b"TCP":
                return connect(where, side=side)
            opening.append(Deferred())
            return opening[-1]

        connect = self.sbc.transports.connect
        self.patch(self.sbc.transports, "connect", slow)
        call = phone.call("echo", headers=LARGE)
        yield until(lambda: opening, "the connection is being opened")
        call.cancel()
        status = yield self.final(call)
        self.assertEqual(status, 487)
        flow = yield connect(Destination(b"UDP", "127.0.0.2", self.upper.port, "127.0.0.2"), side="upper")
        opening[0].callback(flow)
        yield pause(0.1)
        self.assertEqual(self.came("INVITE"), [])
        self.assertFalse(self.sbc.calls.open)

    @inlineCallbacks
    def test_the_operator_may_not_want_it(self):
        yield self.begin(transport="datagram_request = 0")
        self.upper.answering["echo"] = 0.05
        phone = yield self.awake(transport="udp", talks=True)
        call = phone.call("echo", headers=LARGE)
        status = yield self.final(call)
        self.assertEqual((status, [transport for _, transport in self.came("INVITE")]), (200, [b"UDP"]))
        yield call.hang_up()

    @inlineCallbacks
    def test_a_phone_is_reached_where_it_registered_from(self):
        yield self.begin()
        phone = yield self.awake(transport="udp", talks=True)
        call = self.upper.place_call("bob", headers=LARGE)
        status = yield self.final(call)
        self.assertEqual(status, 200)
        [seen] = phone.saw("INVITE")
        self.assertEqual(seen.request.via.transport, b"UDP")
        yield call.hang_up()
