"""One stream connection: deadlines, limits, what cuts it and what does not. In memory, with a clock of our own."""

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from wsproto import ConnectionType, WSConnection
from wsproto.events import CloseConnection, Request, TextMessage

from sbc.transport.codec import SipCodec
from sbc.transport.connections import Accepting, Connections
from sbc.transport.flow import Gate, Listener, OpenGate
from sbc.transport.limits import (
    BAD_HANDSHAKE,
    BANNED,
    DRAIN_SECONDS,
    NOT_READING,
    NOT_SIP,
    OVERSIZED,
    SILENT,
    SLOW,
    TOO_MANY,
    TOO_MANY_FROM_SOURCE,
    Limits,
)
from sbc.transport.stream import StreamConnection
from sbc.transport.websocket import WebSocketCodec
from tests.unit.transport.test_transport_proxyprotocol import IPV4
from tests.unit.transport.transport_world import ASKED, Ear, options


class Wire(StringTransport):
    """A transport that fills up and notices how it was ended."""

    ended = ""

    def abortConnection(self) -> None:
        self.ended = "aborted"

    def loseConnection(self) -> None:
        self.ended = "closed"


class Street(TestCase):
    """A house with a door, a clock, and wires to it."""

    def setUp(self) -> None:
        self.now = 1_000.0
        self.ear = Ear()
        self.build(Limits())

    def build(
        self, limits: Limits, gate: Gate | None = None, *, websocket: bool = False, proxied: bool = False
    ) -> None:
        self.clock = Clock()
        self.house = Connections(
            self.ear,
            limits,
            gate or OpenGate(),
            lambda: self.now,
            start_id="s",
            call_later=self.clock.callLater,
        )
        listener = Listener(0, b"WS" if websocket else b"TCP", "127.0.0.1", 5060)
        codec = (lambda: WebSocketCodec(65_000)) if websocket else (lambda: SipCodec(limits.message_bytes))
        self.door = Accepting(self.house, listener, codec, trusted=(lambda host: True) if proxied else None)

    def call(self, host: str = "192.0.2.1", port: int = 40_000) -> tuple[StreamConnection, Wire]:
        address = IPv4Address("TCP", host, port)
        connection = self.door.buildProtocol(address)
        wire = Wire(peerAddress=address)
        connection.makeConnection(wire)
        return connection, wire

    def hang_up(self, connection: StreamConnection) -> None:
        connection.connectionLost(Failure(ConnectionDone()))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.house.sweep()


class Messages(Street):
    def test_a_message_comes_with_its_flow_and_the_answer_goes_back_there(self) -> None:
        connection, wire = self.call()
        connection.dataReceived(options())
        flow = self.ear.flows[0]
        self.assertEqual((flow.transport, flow.reliable, flow.secure), (b"TCP", True, False))
        self.assertEqual(flow.peer, ("192.0.2.1", 40_000))
        self.assertEqual(flow.heard_at, 1_000.0)
        self.assertIs(self.house.flow(flow.token), flow)
        flow.send(b"SIP/2.0 200 OK\r\n\r\n")
        self.assertEqual(wire.value(), b"SIP/2.0 200 OK\r\n\r\n")

    def test_a_flow_outlives_its_connection_as_a_closed_one(self) -> None:
        connection, wire = self.call()
        connection.dataReceived(options())
        flow = self.ear.flows[0]
        self.hang_up(connection)
        self.assertFalse(flow.open)
        self.assertIsNone(self.house.flow(flow.token))
        self.assertEqual([lost for lost, _ in self.ear.losses], [flow])
        flow.send(b"too late")
        flow.close("again")
        self.assertEqual(wire.value(), b"")

    def test_a_ping_is_answered_and_heard(self) -> None:
        connection, wire = self.call()
        self.now += 5
        connection.dataReceived(b"\r\n\r\n")
        self.assertEqual(wire.value(), b"\r\n")
        assert connection.flow is not None
        self.assertEqual(connection.flow.heard_at, 1_005.0)
        self.assertEqual(self.ear.messages, [])

    def test_closing_a_flow_stops_what_came_with_the_same_bytes(self) -> None:
        connection, wire = self.call()

        def enough(data: bytes, flow: Any) -> None:
            self.ear.messages.append(data)
            flow.close("enough")

        self.ear.received = enough  # type: ignore[method-assign]
        connection.dataReceived(options(1) + options(2))
        self.assertEqual(self.ear.messages, [options(1)])
        self.assertEqual(wire.ended, "aborted")

    def test_our_own_failure_with_one_message_costs_only_that_message(self) -> None:
        connection, wire = self.call()

        def fail(data: bytes, flow: Any) -> None:
            self.ear.messages.append(data)
            raise RuntimeError("ours")

        self.ear.received = fail  # type: ignore[method-assign]
        connection.dataReceived(options(1) + options(2))
        self.assertEqual(len(self.ear.messages), 2)
        self.assertEqual(wire.ended, "")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)


class Time(Street):
    def test_a_silent_newcomer_is_cut(self) -> None:
        _, wire = self.call()
        self.wait(19)
        self.assertEqual(wire.ended, "")
        self.wait(2)
        self.assertEqual((wire.ended, self.ear.refusals), ("aborted", [SILENT]))

    def test_one_octet_a_second_is_cut_at_the_deadline_of_a_message(self) -> None:
        connection, wire = self.call()
        for octet in options()[:30]:
            connection.dataReceived(bytes([octet]))
            self.wait(1)
            if wire.ended:
                break
        self.assertEqual((wire.ended, self.ear.refusals), ("aborted", [SLOW]))
        self.assertLessEqual(self.now, 1_012.0)

    def test_a_message_in_two_parts_in_time_is_taken(self) -> None:
        connection, wire = self.call()
        connection.dataReceived(options()[:20])
        self.wait(9)
        connection.dataReceived(options()[20:])
        self.wait(60)
        self.assertEqual((wire.ended, self.ear.messages), ("", [options()]))

    def test_a_whole_message_gives_the_next_half_its_own_time(self) -> None:
        connection, wire = self.call()
        connection.dataReceived(options(1) + options(2)[:20])
        self.wait(8)
        connection.dataReceived(options(2)[20:] + options(3)[:20])
        self.wait(8)
        self.assertEqual(wire.ended, "")
        self.wait(3)
        self.assertEqual(self.ear.refusals, [SLOW])

    def test_an_idle_stream_lives_long_but_not_for_ever(self) -> None:
        connection, wire = self.call()
        connection.dataReceived(options())
        self.wait(3_600)
        connection.dataReceived(b"\r\n\r\n")
        self.wait(7_100)
        self.assertEqual(wire.ended, "")
        self.wait(200)
        self.assertEqual(self.ear.refusals, [SILENT])


class Space(Street):
    def test_a_peer_that_does_not_read_is_cut(self) -> None:
        self.build(Limits(write_buffer_bytes=10_000))
        connection, wire = self.call()
        connection.dataReceived(options())
        flow = self.ear.flows[0]
        wire.producer.pauseProducing()  # what a full transport does
        for _ in range(9):
            flow.send(bytes(1_000))
        self.assertEqual(wire.ended, "")
        wire.producer.resumeProducing()
        wire.producer.pauseProducing()
        for _ in range(12):
            flow.send(bytes(1_000))
        self.assertEqual((wire.ended, self.ear.refusals), ("aborted", [NOT_READING]))

    def test_a_server_that_does_not_read_loses_messages_and_not_its_connection(self) -> None:
        self.build(Limits(write_buffer_bytes=10_000))
        connection, wire = self.call()
        connection.outgoing = True
        connection.dataReceived(options())
        wire.producer.pauseProducing()
        for _ in range(40):
            self.ear.flows[0].send(bytes(1_000))
        self.assertEqual((wire.ended, len(wire.value())), ("", 10_000))
        self.assertEqual(self.ear.refusals, [NOT_READING] * 30)

    def test_what_is_not_sip_is_cut_without_an_answer(self) -> None:
        for noise in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\n"):
            connection, wire = self.call()
            connection.dataReceived(noise)
            self.assertEqual((wire.ended, wire.value()), ("aborted", b""))
        self.assertEqual(self.ear.refusals, [NOT_SIP] * 3)

    def test_a_message_over_the_limit_is_cut_before_it_is_stored(self) -> None:
        connection, wire = self.call()
        connection.dataReceived(b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 9999999\r\n\r\n")
        self.assertEqual((wire.ended, self.ear.refusals), ("aborted", [OVERSIZED]))

    def test_who_is_told_that_a_message_is_too_large_has_time_to_hear_it(self) -> None:
        connection, wire = self.call()
        connection.dataReceived(ASKED + b"Content-Length: 9999999\r\n\r\n" + bytes(1_000))
        self.assertEqual((wire.value()[:12], wire.ended), (b"SIP/2.0 513 ", ""))
        self.assertEqual(self.ear.refusals, [OVERSIZED])
        connection.dataReceived(bytes(100_000) + options())
        self.assertEqual(self.ear.messages, [])
        self.wait(DRAIN_SECONDS + 1)
        self.assertEqual(wire.ended, "aborted")

    def test_one_source_holds_a_bounded_number(self) -> None:
        self.build(Limits(connections_per_source=2))
        first, _ = self.call()
        self.call()
        _, third = self.call()
        _, other = self.call("192.0.2.2")
        self.assertEqual((third.ended, other.ended), ("aborted", ""))
        self.assertEqual(self.ear.refusals, [TOO_MANY_FROM_SOURCE])
        self.hang_up(first)
        _, fourth = self.call()
        self.assertEqual(fourth.ended, "")

    def test_all_sources_together_hold_a_bounded_number(self) -> None:
        self.build(Limits(connections=2))
        wires = [self.call(f"192.0.2.{number}")[1] for number in range(3)]
        self.assertEqual([wire.ended for wire in wires], ["", "", "aborted"])
        self.assertEqual(self.ear.refusals, [TOO_MANY])

    def test_the_gate_decides_first(self) -> None:
        class Gatekeeper:
            def admits(self, host: str) -> bool:
                return host != "192.0.2.66"

            def exempt(self, host: str) -> bool:
                return host == "192.0.2.7"

            def known(self, host: str) -> bool:
                return True

        self.build(Limits(connections_per_source=1), Gatekeeper())
        _, banned = self.call("192.0.2.66")
        friends = [self.call("192.0.2.7")[1] for _ in range(5)]
        self.assertEqual((banned.ended, [wire.ended for wire in friends]), ("aborted", [""] * 5))
        self.assertEqual(self.ear.refusals, [BANNED])

    def test_counts_return_to_nothing(self) -> None:
        connections = [self.call(f"192.0.2.{number % 3}")[0] for number in range(9)]
        self.assertEqual(self.house.held_by("192.0.2.1"), 3)
        for connection in connections:
            self.hang_up(connection)
        self.assertEqual(self.house.held_by("192.0.2.1"), 0)
        self.assertEqual((len(self.house.all), len(self.house.deadlines)), (0, 0))
        self.assertFalse(self.house._counted or self.house._sources or self.house._tokens or self.house._routes)

    def test_a_banned_source_loses_what_it_holds(self) -> None:
        _, one = self.call("192.0.2.1")
        _, two = self.call("192.0.2.2")
        self.assertEqual(self.house.cut("192.0.2.1", "banned"), 1)
        self.assertEqual((one.ended, two.ended), ("aborted", ""))


class BehindBalancer(Street):
    def test_the_source_is_the_one_the_balancer_names(self) -> None:
        self.build(Limits(connections_per_source=1), proxied=True)
        connection, _ = self.call("10.0.0.1")
        connection.dataReceived(IPV4[:10])
        connection.dataReceived(IPV4[10:] + options())
        self.assertEqual(self.ear.flows[0].peer, ("203.0.113.9", 50_001))
        self.assertEqual((self.house.held_by("203.0.113.9"), self.house.held_by("10.0.0.1")), (1, 0))
        second, wire = self.call("10.0.0.1")
        second.dataReceived(IPV4)
        self.assertEqual((wire.ended, self.ear.refusals), ("aborted", [TOO_MANY_FROM_SOURCE]))

    def test_no_header_no_service(self) -> None:
        self.build(Limits(), proxied=True)
        connection, wire = self.call("10.0.0.1")
        connection.dataReceived(options())
        self.assertEqual((wire.ended, self.ear.refusals), ("aborted", [BAD_HANDSHAKE]))

    def test_from_elsewhere_a_header_is_no_header(self) -> None:
        self.build(Limits())
        connection, wire = self.call("192.0.2.66")
        connection.dataReceived(IPV4 + options())
        self.assertEqual((self.ear.messages, self.ear.refusals, bool(wire.ended)), ([], [NOT_SIP], True))
        self.assertEqual(self.house.held_by("203.0.113.9"), 0)


class WebSocketTime(Street):
    def test_a_message_and_the_end_in_one_piece(self) -> None:
        self.build(Limits(), websocket=True)
        connection, wire = self.call()
        client = WSConnection(ConnectionType.CLIENT)
        connection.dataReceived(client.send(Request(host="h", target="/", subprotocols=["sip"])))
        client.receive_data(wire.value())
        list(client.events())
        last = client.send(TextMessage(options(1).decode())) + client.send(CloseConnection(1000))
        self.patch(self.ear, "received", lambda data, flow: (self.ear.messages.append(data), flow.send(data)))
        connection.dataReceived(last)
        self.assertEqual((self.ear.messages, wire.ended), ([options(1)], "closed"))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_silent_websocket_is_pinged_and_cut_when_it_does_not_answer(self) -> None:
        self.build(Limits(), websocket=True)
        connection, wire = self.call()
        connection.dataReceived(
            b"GET / HTTP/1.1\r\nHost: sbc\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
        )
        # A ping shows that the newcomer is alive, so that only its silence counts from now on.
        connection.dataReceived(b"\x89\x80\x00\x00\x00\x00")
        wire.clear()
        self.wait(31)
        self.assertEqual(wire.value(), b"\x89\x00")
        connection.dataReceived(b"\x8a\x80\x00\x00\x00\x00")
        self.wait(31)
        self.wait(31)
        self.assertEqual(wire.ended, "")
        self.wait(31)
        self.assertEqual((wire.ended, self.ear.refusals), ("aborted", [SILENT]))
