"""Nodes that connect to each other on loopback: reuse, time-outs, both address families, start, drain and stop."""

import socket
from dataclasses import replace
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from sbc.transport.connections import UnreachableError
from sbc.transport.flow import Destination
from sbc.transport.limits import BAD_HANDSHAKE, NOT_READING, NOT_SIP, OVERSIZED, SLOW, TOO_MANY_FROM_SOURCE, Limits
from sbc.transport.service import Transports
from sbc.transport.settings import ListenSettings
from tests.unit.transport.transport_world import ASKED, Ear, Node, Stranger, options, stranger, turn
from tests.waiting import until


class Connecting(TestCase):
    def test_one_connection_serves_all_requests_to_a_destination(self) -> Any:
        async def conversation() -> None:
            here, there = Node(self, "tcp:127.0.0.2:0"), Node(self, "tcp:127.0.0.3:0")
            asked = [here.transports.connect(there.place(), side="upper") for _ in range(3)]
            flows = [await each for each in asked]
            flows.append(await here.transports.connect(there.place(), side="upper"))
            self.assertEqual(len({flow.token for flow in flows}), 1)
            flows[0].send(options(1))
            await until(lambda: there.ear.messages)
            there.ear.flows[0].send(options(2))
            await until(lambda: here.ear.messages)
            self.assertEqual(here.ear.flows, [flows[0]])
            # We speak from the address we listen on, so that the other side knows us.
            self.assertEqual(there.ear.flows[0].peer[0], "127.0.0.2")

        return ensureDeferred(conversation())

    def test_the_accepted_connection_is_used_back_to_the_very_same_port(self) -> Any:
        async def conversation() -> None:
            here, there = Node(self, "tcp:127.0.0.2:0"), Node(self, "tcp:127.0.0.3:0")
            flow = await here.transports.connect(there.place(), side="upper")
            flow.send(options(1))
            await until(lambda: there.ear.messages)
            back = there.ear.flows[0]
            again = await there.transports.connect(Destination(b"TCP", *back.peer, "x"), side="client")
            self.assertIs(again, back)
            self.assertEqual((here.transports.connected(), there.transports.connected()), ({"tcp": 1}, {"tcp": 1}))

        return ensureDeferred(conversation())

    def test_after_the_end_a_new_connection_is_made(self) -> Any:
        async def conversation() -> None:
            here, there = Node(self, "tcp:127.0.0.2:0"), Node(self, "tcp:127.0.0.3:0")
            first = await here.transports.connect(there.place(), side="upper")
            first.send(options())
            await until(lambda: there.ear.flows)
            there.ear.flows[0].close("test")
            await until(lambda: here.ear.losses and there.ear.losses)
            self.assertEqual(here.ear.losses[0][0], first)
            self.assertEqual(there.ear.losses, [(there.ear.flows[0], "test")])
            self.assertFalse(first.open)
            second = await here.transports.connect(there.place(), side="upper")
            self.assertIsNot(second, first)

        return ensureDeferred(conversation())

    def test_a_refused_connection_fails_and_is_not_tried_again_at_once(self) -> Any:
        async def conversation() -> None:
            here = Node(self, "tcp:127.0.0.2:0", limits=Limits(connect_pause=0.05))
            with socket.socket() as closed:
                closed.bind(("127.0.0.3", 0))
                place = Destination(b"TCP", *closed.getsockname(), "x")
            for _ in range(2):
                with self.assertRaises(UnreachableError) as caught:
                    await here.transports.connect(place, side="upper")
                self.assertEqual(caught.exception.status, 503)
            there = socket.create_server((place.host, place.port))
            self.addCleanup(there.close)
            await turn(0.06)
            self.assertTrue((await here.transports.connect(place, side="upper")).open)

        return ensureDeferred(conversation())

    def test_a_handshake_that_never_ends_is_given_up_in_time(self) -> Any:
        async def conversation() -> None:
            # It accepts and says nothing: TCP is up, the WebSocket never is.
            port: Any = reactor.listenTCP(0, Factory.forProtocol(Stranger), interface="127.0.0.3")
            self.addCleanup(port.stopListening)
            here = Node(self, "ws:127.0.0.2:0", limits=Limits(connect=0.1))
            with self.assertRaises(UnreachableError):
                await here.transports.connect(Destination(b"WS", "127.0.0.3", port.getHost().port, "x"), side="upper")
            self.assertFalse(here.transports.connections.all)

        return ensureDeferred(conversation())

    def test_no_listener_can_reach_it(self) -> Any:
        async def conversation() -> None:
            here = Node(self, "udp:127.0.0.2:0", "tcp:127.0.0.2:0", listen={"side": "client"})
            for place, side in (
                (Destination(b"UDP", "127.0.0.3", 5060, "x"), "upper"),
                (Destination(b"TCP", "127.0.0.3", 5060, "x"), "upper"),
                (Destination(b"UDP", "::1", 5060, "x"), "client"),
                (Destination(b"UDP", "192.0.2.1", 5060, "x"), "client"),
                (Destination(b"TCP", "pbx.example.com", 5060, "x"), "client"),
                (Destination(b"TCP", "127.0.0.3", 0, "x"), "client"),
            ):
                with self.assertRaises(UnreachableError):
                    await here.transports.connect(place, side=side)

        return ensureDeferred(conversation())

    def test_the_listener_of_the_side_is_used(self) -> Any:
        async def conversation() -> None:
            ear = Ear()
            transports = Transports(
                reactor,
                [
                    ListenSettings(uri="udp:127.0.0.2:0", side="client"),
                    ListenSettings(uri="udp:127.0.0.3:0"),
                    ListenSettings(uri="udp:127.0.0.4:0", side="upper"),
                ],
                ear,
                Limits(),
            )
            transports.startService()
            self.addCleanup(transports.stopService)
            place = Destination(b"UDP", "127.0.0.9", 5060, "x")
            upper = await transports.connect(place, side="upper")
            client = await transports.connect(place, side="client")
            self.assertEqual((client.listener.host, upper.listener.host), ("127.0.0.2", "127.0.0.4"))
            # No TCP listener at all: a connection speaks in the name of one of that side.
            there = Node(self, "tcp:127.0.0.5:0")
            flow = await transports.connect(there.place(), side="upper")
            self.assertEqual((flow.transport, flow.listener.transport), (b"TCP", b"TCP"))
            self.assertEqual(flow.listener.uri_host, transports.listeners[1].uri_host)

        return ensureDeferred(conversation())

    def test_ipv6(self) -> Any:
        async def conversation() -> None:
            here, there = Node(self, "tcp:[::1]:0"), Node(self, "tcp:[::]:0")
            port = there.transports.listeners[0].port
            flow = await here.transports.connect(Destination(b"TCP", "::1", port, "x"), side="upper")
            flow.send(options(6))
            old = Node(self, "tcp:127.0.0.2:0")
            flow = await old.transports.connect(Destination(b"TCP", "127.0.0.1", port, "x"), side="upper")
            flow.send(options(4))
            await until(lambda: len(there.ear.messages) == 2)
            self.assertEqual({flow.peer[0] for flow in there.ear.flows}, {"::1", "127.0.0.2"})
            self.assertEqual(here.transports.listeners[0].uri_host, b"[::1]:%d" % here.place().port)

        return ensureDeferred(conversation())

    def test_both_families_of_one_port_stand_side_by_side(self) -> Any:
        async def conversation() -> None:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            uris = [f"{transport}:{host}:{port}" for transport in ("udp", "tcp") for host in ("[::1]", "127.0.0.1")]
            node = Node(self, *uris)
            self.assertEqual({listener.port for listener in node.transports.listeners}, {port})

        return ensureDeferred(conversation())

    def test_websocket_from_node_to_node(self) -> Any:
        async def conversation() -> None:
            here, there = Node(self, "ws:127.0.0.2:0"), Node(self, "ws:127.0.0.3:0")
            flow = await here.transports.connect(there.place(), side="upper")
            flow.send(options(1))
            await until(lambda: there.ear.messages)
            there.ear.flows[0].send(options(2))
            await until(lambda: here.ear.messages)
            self.assertEqual(there.ear.flows[0].transport, b"WS")
            flow.close("done")
            await until(lambda: there.ear.losses)

        return ensureDeferred(conversation())


class Strangers(TestCase):
    def test_http_on_a_sip_port_hears_nothing(self) -> Any:
        async def conversation() -> None:
            node = Node(self, "tcp:127.0.0.2:0")
            visitor = await stranger(self, node.place())
            visitor.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(lambda: visitor.closed)
            self.assertEqual((visitor.heard, node.ear.refusals), (b"", [NOT_SIP]))

        return ensureDeferred(conversation())

    def test_a_message_too_large_is_answered_and_the_connection_ends(self) -> Any:
        async def conversation() -> None:
            node = Node(self, "tcp:127.0.0.2:0", limits=Limits(message_bytes=10_000))
            visitor = await stranger(self, node.place())
            visitor.say(ASKED + b"Content-Length: 3000000\r\n\r\n" + bytes(3_000_000))
            await until(lambda: visitor.heard.startswith(b"SIP/2.0 513 "), "the answer")
            await until(lambda: visitor.closed, "the end")
            self.assertEqual((node.ear.messages, node.ear.refusals), ([], [OVERSIZED]))

        return ensureDeferred(conversation())

    def test_a_plain_get_on_a_websocket_port_hears_400(self) -> Any:
        async def conversation() -> None:
            node = Node(self, "ws:127.0.0.2:0")
            visitor = await stranger(self, node.place())
            visitor.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(lambda: visitor.closed)
            self.assertEqual(visitor.heard[:12], b"HTTP/1.1 400")

        return ensureDeferred(conversation())

    def test_deadlines_run_by_themselves(self) -> Any:
        async def conversation() -> None:
            node = Node(self, "tcp:127.0.0.2:0", limits=Limits(partial_message=0.1))
            visitor = await stranger(self, node.place())
            visitor.say(b"OPTIONS sip:a@b SIP")
            await until(lambda: visitor.closed)
            self.assertEqual(node.ear.refusals, [SLOW])

        return ensureDeferred(conversation())

    def test_a_peer_that_stops_reading_is_cut(self) -> Any:
        async def conversation() -> None:
            node = Node(self, "tcp:127.0.0.2:0", limits=Limits(write_buffer_bytes=100_000))
            visitor = await stranger(self, node.place())
            visitor.say(options())
            await until(lambda: node.ear.flows)
            visitor.transport.pauseProducing()
            flow = node.ear.flows[0]
            for _ in range(2_000):
                flow.send(options(1, bytes(60_000)))
                if not flow.open:
                    break
                await turn()
            self.assertFalse(flow.open)
            self.assertEqual(node.ear.refusals, [NOT_READING])
            await until(lambda: node.ear.losses)

        return ensureDeferred(conversation())

    def test_behind_a_balancer(self) -> Any:
        async def conversation() -> None:
            from tests.unit.transport.test_transport_proxyprotocol import IPV4

            kind = ListenSettings.__dataclass_fields__["proxies"].metadata["__section__"].kind
            node = Node(self, "tcp:127.0.0.2:0", listen={"proxies": kind.read(["127.0.0.9"])})
            balancer = await stranger(self, node.place(), "127.0.0.9")
            balancer.say(IPV4 + options(1))
            direct = await stranger(self, node.place(), "127.0.0.8")
            direct.say(options(2))
            await until(lambda: len(node.ear.flows) == 2)
            self.assertEqual({flow.peer[0] for flow in node.ear.flows}, {"203.0.113.9", "127.0.0.8"})

        return ensureDeferred(conversation())


class Life(TestCase):
    def test_new_limits_and_paths_hold_for_newcomers(self) -> Any:
        async def conversation() -> None:
            node = Node(self, "ws:127.0.0.2:0", "udp:127.0.0.2:0", "tcp:127.0.0.2:0")
            visitor = await stranger(self, node.place(2))
            visitor.say(options(1))
            listens = [replace(node.listens[0], path="/sip"), *node.listens[1:]]
            node.transports.configure(listens, Limits(connections_per_source=2))
            late = await stranger(self, node.place(0))
            late.say(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
            late.say(b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
            await until(lambda: late.closed)
            self.assertEqual(late.heard[:12], b"HTTP/1.1 404")
            self.assertFalse(visitor.closed)
            others = [await stranger(self, node.place(2)) for _ in range(3)]
            await until(lambda: sum(each.closed for each in others) == 2)
            self.assertEqual(node.ear.refusals, [BAD_HANDSHAKE, TOO_MANY_FROM_SOURCE, TOO_MANY_FROM_SOURCE])

        return ensureDeferred(conversation())

    def test_stopping_gives_up_what_is_being_opened(self) -> Any:
        async def conversation() -> None:
            here = Node(self, "ws:127.0.0.2:0")
            port: Any = reactor.listenTCP(0, Factory.forProtocol(Stranger), interface="127.0.0.3")
            self.addCleanup(port.stopListening)
            asked = here.transports.connect(Destination(b"WS", "127.0.0.3", port.getHost().port, "x"), side="upper")
            await here.transports.stopService()
            with self.assertRaises(UnreachableError):
                await asked

        return ensureDeferred(conversation())

    def test_an_address_in_use_is_said_at_start(self) -> None:
        holder = socket.create_server(("127.0.0.2", 0))
        self.addCleanup(holder.close)
        transports = Transports(
            reactor, [ListenSettings(uri=f"tcp:127.0.0.2:{holder.getsockname()[1]}")], Ear(), Limits()
        )
        self.assertRaises(CannotListenError, transports.privilegedStartService)

    def test_what_is_advertised(self) -> None:
        listens = [
            ListenSettings(uri="udp:0.0.0.0:5060"),
            ListenSettings(uri="udp:192.0.2.1:5060", advertise="203.0.113.5"),
            ListenSettings(uri="tls:[::]:5061", advertise="[2001:db8::1]:443", certificate="x"),
            ListenSettings(uri="ws:192.0.2.1:8080", advertise="sbc.example.com"),
        ]
        transports = Transports(reactor, listens, Ear(), Limits())
        transports.listeners[0].bound(5060, "198.51.100.7")
        self.assertEqual(
            [listener.uri_host for listener in transports.listeners],
            [b"198.51.100.7:5060", b"203.0.113.5:5060", b"[2001:db8::1]:443", b"sbc.example.com:8080"],
        )

    def test_draining_takes_no_newcomers_and_keeps_who_is_there(self) -> Any:
        async def conversation() -> None:
            here, there = Node(self, "tcp:127.0.0.2:0"), Node(self, "tcp:127.0.0.3:0", "udp:127.0.0.3:0")
            flow = await here.transports.connect(there.place(), side="upper")
            flow.send(options(1))
            await until(lambda: there.ear.messages)
            await there.transports.drain()
            flow.send(options(2))
            await until(lambda: len(there.ear.messages) == 2)
            late = Node(self, "tcp:127.0.0.4:0")
            with self.assertRaises(UnreachableError):
                await late.transports.connect(there.place(), side="upper")

        return ensureDeferred(conversation())

    def test_stopping_sends_what_is_buffered_and_leaves_nothing(self) -> Any:
        async def conversation() -> None:
            here, there = Node(self, "tcp:127.0.0.2:0", "udp:127.0.0.2:0"), Node(self, "tcp:127.0.0.3:0")
            flow = await here.transports.connect(there.place(), side="upper")
            flow.send(options(7, bytes(50_000)))
            await here.transports.stopService()
            await until(lambda: there.ear.messages)
            self.assertEqual(there.ear.messages, [options(7, bytes(50_000))])
            self.assertFalse(here.transports.connections.all)
            self.assertEqual(here.ear.losses, [(flow, "stopping")])

        return ensureDeferred(conversation())

    def test_waiting_requests_may_be_given_up(self) -> Any:
        async def conversation() -> None:
            here, there = Node(self, "tcp:127.0.0.2:0"), Node(self, "tcp:127.0.0.3:0")
            given_up: Deferred[Any] = here.transports.connect(there.place(), side="upper")
            kept = here.transports.connect(there.place(), side="upper")
            given_up.addErrback(lambda _: None)
            given_up.cancel()
            self.assertTrue((await kept).open)

        return ensureDeferred(conversation())
