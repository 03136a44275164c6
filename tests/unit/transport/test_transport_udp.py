"""The UDP reader and its flows, on real sockets of loopback addresses and with a socket of our own making."""

import errno
import select
import socket
from errno import EAGAIN
from struct import pack
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from sbc.transport import udp
from sbc.transport.flow import Listener, OpenGate
from sbc.transport.limits import BANNED, CLEARED_SHARE, CROWDED_SHARE, NOT_SIP, OVERSIZED, Limits
from sbc.transport.udp import SO_MEMINFO, UdpPort
from tests.unit.transport.transport_world import Ear, Node, options, turn
from tests.waiting import until


class Phone:
    """A blocking UDP socket."""

    def __init__(self, case: TestCase, host: str = "127.0.0.9") -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        case.addCleanup(self.socket.close)
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self.address: tuple[str, int] = self.socket.getsockname()[:2]

    def say(self, data: bytes, node: Node, index: int = 0) -> None:
        place = node.place(index)
        self.socket.sendto(data, (place.host, place.port))

    async def hear(self) -> bytes:
        await until(lambda: select.select([self.socket], [], [], 0)[0], "a datagram")
        return self.socket.recv(65_535)


class OnTheWire(TestCase):
    def test_a_datagram_and_its_answer(self) -> Any:
        async def conversation() -> None:
            node, phone = Node(self, "udp:127.0.0.2:0"), Phone(self)
            phone.say(options(), node)
            await until(lambda: node.ear.messages)
            flow = node.ear.flows[0]
            self.assertEqual(node.ear.messages, [options()])
            self.assertEqual((flow.peer, flow.transport, flow.reliable), (phone.address, b"UDP", False))
            self.assertEqual(flow.token, f"udp/0/127.0.0.9:{phone.address[1]}")
            self.assertGreater(flow.heard_at, 0.0)
            self.assertIs(node.transports.flow(flow.token), flow)
            flow.send(b"SIP/2.0 200 OK\r\n\r\n")
            self.assertEqual(await phone.hear(), b"SIP/2.0 200 OK\r\n\r\n")

        return ensureDeferred(conversation())

    def test_a_token_from_before_the_restart_still_leads_to_the_phone(self) -> Any:
        async def conversation() -> None:
            node, phone = Node(self, "udp:127.0.0.2:0"), Phone(self)
            flow = node.transports.flow(f"udp/0/127.0.0.9:{phone.address[1]}")
            assert flow is not None
            self.assertEqual(flow.heard_at, 0.0)
            flow.send(options())
            self.assertEqual(await phone.hear(), options())
            for wrong in ("1/127.0.0.9:5", "0/pbx.example.com:5", "x/127.0.0.9:5", "-1/127.0.0.9:5", "0/127.0.0.9", ""):
                self.assertIsNone(node.transports.flow(f"udp/{wrong}"))
            self.assertIsNone(node.transports.flow("tcp/1"))

        return ensureDeferred(conversation())

    def test_the_longest_datagrams_come_whole_and_longer_ones_not_at_all(self) -> Any:
        async def conversation() -> None:
            node, phone = Node(self, "udp:127.0.0.2:0"), Phone(self)
            phone.say(options(1, bytes(12_000)), node)
            phone.say(options(2, bytes(65_000 - len(options(2, bytes(64_000))) + 64_000)), node)
            phone.say(options(3, bytes(65_100)), node)
            await until(lambda: node.ear.refusals)
            self.assertEqual(node.ear.messages[0], options(1, bytes(12_000)))
            self.assertEqual([len(message) for message in node.ear.messages[1:]], [65_000])
            self.assertEqual(node.ear.refusals, [OVERSIZED])

        return ensureDeferred(conversation())

    def test_keep_alives_are_heard_and_only_the_ping_is_answered(self) -> Any:
        async def conversation() -> None:
            node, phone = Node(self, "udp:127.0.0.2:0"), Phone(self)
            flow = node.transports.udp_flow(node.transports.listeners[0], phone.address)
            for quiet in (b"\r\n", b"\0", b"\0\0\0\0", b""):
                phone.say(quiet, node)
            phone.say(b"\r\n\r\n", node)
            self.assertEqual(await phone.hear(), b"\r\n")
            await turn(0.02)
            self.assertRaises(BlockingIOError, phone.socket.recv, 100)
            self.assertGreater(flow.heard_at, 0.0)
            self.assertEqual((node.ear.messages, node.ear.refusals), ([], []))

        return ensureDeferred(conversation())

    def test_what_is_not_sip_is_dropped(self) -> Any:
        async def conversation() -> None:
            node, phone = Node(self, "udp:127.0.0.2:0"), Phone(self)
            phone.say(b"\x00\x01\x00\x00\x21\x12\xa4\x42", node)
            phone.say(b"\r\n\r\n" + options(), node)
            await until(lambda: node.ear.messages)
            self.assertEqual((node.ear.messages, node.ear.refusals), ([options()], [NOT_SIP]))

        return ensureDeferred(conversation())

    def test_more_than_one_wake_up_of_datagrams(self) -> Any:
        async def conversation() -> None:
            node, phone = Node(self, "udp:127.0.0.2:0"), Phone(self)
            for number in range(200):
                phone.say(options(number), node)
            await until(lambda: len(node.ear.messages) == 200)
            self.assertEqual(node.ear.messages[199], options(199))

        return ensureDeferred(conversation())

    def test_the_banned_are_not_read(self) -> Any:
        class Gatekeeper:
            def admits(self, host: str) -> bool:
                return host != "127.0.0.9"

            def exempt(self, host: str) -> bool:
                return False

            def known(self, host: str) -> bool:
                return True

        async def conversation() -> None:
            node = Node(self, "udp:127.0.0.2:0", gate=Gatekeeper())
            Phone(self).say(options(1), node)
            Phone(self, "127.0.0.8").say(options(2), node)
            await until(lambda: node.ear.messages)
            self.assertEqual((node.ear.messages, node.ear.refusals), ([options(2)], [BANNED]))

        return ensureDeferred(conversation())

    def test_our_own_failure_costs_one_datagram(self) -> Any:
        async def conversation() -> None:
            node, phone = Node(self, "udp:127.0.0.2:0"), Phone(self)
            heard: list[bytes] = []

            def fail(data: bytes, flow: Any) -> None:
                heard.append(data)
                raise RuntimeError("ours")

            node.ear.received = fail  # type: ignore[method-assign]
            phone.say(options(1), node)
            phone.say(options(2), node)
            await until(lambda: len(heard) == 2)
            self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

        return ensureDeferred(conversation())

    def test_ipv6_and_ipv4_on_one_socket(self) -> Any:
        async def conversation() -> None:
            node = Node(self, "udp:[::]:0")
            port = node.transports.listeners[0].port
            old, new = Phone(self, "127.0.0.9"), Phone(self, "::1")
            old.socket.sendto(options(4), ("127.0.0.1", port))
            new.socket.sendto(options(6), ("::1", port))
            await until(lambda: len(node.ear.messages) == 2)
            peers = {flow.peer: flow for flow in node.ear.flows}
            self.assertEqual(set(peers), {old.address, new.address})
            for phone in (old, new):
                flow = peers[phone.address]
                self.assertIs(node.transports.flow(flow.token), flow)
                flow.send(b"SIP/2.0 200 OK\r\n\r\n")
                self.assertEqual(await phone.hear(), b"SIP/2.0 200 OK\r\n\r\n")

        return ensureDeferred(conversation())

    def test_a_datagram_that_no_network_takes_is_told_as_lost(self) -> Any:
        async def conversation() -> None:
            node = Node(self, "udp:127.0.0.2:0")
            flow = node.transports.udp_flow(node.transports.listeners[0], ("127.0.0.9", 9))
            flow.send(bytes(70_000))
            self.assertEqual(node.ear.losses, [])  # never in the midst of send()
            await until(lambda: node.ear.losses)
            self.assertEqual(node.ear.losses, [(flow, "EMSGSIZE")])
            self.assertEqual(node.transports.errors(), {"EMSGSIZE": 1})
            node.transports.udp_flow(node.transports.listeners[0], ("127.0.0.9", 99_999)).send(options())
            node.transports.udp_flow(node.transports.listeners[0], ("::1", 5060)).send(options())
            await until(lambda: len(node.ear.losses) == 3)
            flow.send(b"to a closed port: nobody tells us")
            flow.send(b"and the next one goes as well")
            self.assertEqual(sum(node.transports.errors().values()), 3)

        return ensureDeferred(conversation())


class FullSocket:
    """A socket that takes nothing until it is told to."""

    def __init__(self) -> None:
        self.full = True
        self.error = 0
        self.sent: list[tuple[bytes, Any]] = []

    def sendto(self, data: bytes, address: Any) -> None:
        if self.full:
            raise OSError(errno.EAGAIN, "full")
        if self.error:
            raise OSError(self.error, "broken")
        self.sent.append((data, address))

    def close(self) -> None:
        pass

    def fileno(self) -> int:
        return 99


class Wakeups(Clock):
    """A clock that notes who wants to write."""

    def __init__(self) -> None:
        super().__init__()
        self.writers: set[object] = set()

    def addWriter(self, writer: object) -> None:
        self.writers.add(writer)

    def removeWriter(self, writer: object) -> None:
        self.writers.discard(writer)

    def removeReader(self, reader: object) -> None:
        pass


class Queueing(TestCase):
    def setUp(self) -> None:
        self.reactor = Wakeups()
        self.ear = Ear()
        listener = Listener(0, b"UDP", "127.0.0.1", 5060)
        self.port = UdpPort(self.reactor, listener, self.ear, Limits(), OpenGate(), lambda: 0.0)
        self.socket = self.port._socket = FullSocket()  # type: ignore[assignment]
        self.flow = self.port.flow("127.0.0.9", 5060)

    def test_a_full_socket_is_waited_for_in_order(self) -> None:
        for number in range(3):
            self.flow.send(options(number))
        self.assertEqual((self.port.queued, self.reactor.writers), (3, {self.port}))
        self.socket.full = False
        self.flow.send(options(3))  # not before the others
        self.port.doWrite()
        self.assertEqual([data for data, _ in self.socket.sent], [options(number) for number in range(4)])
        self.assertEqual((self.port.queued, self.reactor.writers), (0, set()))

    def test_the_queue_is_bounded(self) -> None:
        for number in range(udp.UDP_QUEUE_DATAGRAMS + 7):
            self.flow.send(options(number))
        self.assertEqual(self.port.queued, udp.UDP_QUEUE_DATAGRAMS)
        self.assertEqual(self.port.errors["dropped"], 7)

    def test_a_broken_address_does_not_hold_up_the_queue(self) -> None:
        self.flow.send(options(1))
        self.flow.send(options(2))
        self.socket.full, self.socket.error = False, errno.ENETUNREACH
        self.port.doWrite()
        self.assertEqual((self.port.queued, self.port.errors["ENETUNREACH"]), (0, 2))

    def test_an_unreachable_network_is_told_later(self) -> None:
        self.socket.full, self.socket.error = False, errno.ENETUNREACH
        self.flow.send(options())
        self.assertEqual(self.ear.losses, [])
        self.reactor.advance(0)
        self.assertEqual(self.ear.losses, [(self.flow, "ENETUNREACH")])

    def test_a_stopped_port_takes_nothing(self) -> None:
        self.flow.send(options())
        self.port.stop()
        self.flow.send(options())
        self.assertEqual((self.port.queued, self.reactor.writers, self.port.fileno()), (0, set(), -1))


class Peers(TestCase):
    def test_a_flood_of_sources_is_bounded_and_does_not_push_out_who_is_heard(self) -> None:
        self.patch(udp, "UDP_FLOWS", 100)
        listener = Listener(0, b"UDP", "127.0.0.1", 5060)
        port = UdpPort(Wakeups(), listener, Ear(), Limits(), OpenGate(), lambda: 0.0)
        phone = port.flow("192.0.2.1", 5060)
        for number in range(5_000):
            port.flow("203.0.113.1", number)
            if number % 50 == 0:
                self.assertIs(port.flow("192.0.2.1", 5060), phone)
        self.assertLessEqual(len(port._young) + len(port._old), 200)


class Crowd:
    """A socket with many datagrams waiting, and the kernel's word how much memory they take."""

    def __init__(self, waiting: list[tuple[bytes, tuple[str, int]]], room: int) -> None:
        self.waiting = waiting
        self.room = room

    def fileno(self) -> int:
        return 7

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        if not self.waiting:
            raise BlockingIOError(EAGAIN, "empty")
        return self.waiting.pop(0)

    def getsockopt(self, level: int, name: int, size: int = 0) -> bytes:
        assert name == SO_MEMINFO
        return pack("=I", len(self.waiting) * self.room // 4_000) + bytes(32)


class Crowded(TestCase):
    """Four thousand datagrams fill the buffer."""

    def port(self, count: int) -> UdpPort:
        class Regulars(OpenGate):
            def known(self, host: str) -> bool:
                return host == "192.0.2.1"

        self.ear = Ear()
        port = UdpPort(Wakeups(), Listener(0, b"UDP", "127.0.0.1", 5060), self.ear, Limits(), Regulars(), lambda: 1.0)
        hosts = ["192.0.2.1" if number % 10 == 0 else f"198.51.100.{number % 250}" for number in range(count)]
        waiting = [(options(number), (host, 5060)) for number, host in enumerate(hosts)]
        port._socket = Crowd(waiting, 4_000_000)  # type: ignore[assignment]
        port._crowded, port._cleared = 4_000_000 * CROWDED_SHARE, 4_000_000 * CLEARED_SHARE
        return port

    def test_strangers_wait_outside_while_there_is_too_much_and_no_longer(self) -> None:
        port = self.port(4_000)
        crowd: Any = port._socket
        while crowd.waiting:
            port.doRead()
        heard = len(self.ear.messages)
        self.assertEqual(heard + self.ear.dropped, 4_000)
        regulars = [flow for flow in self.ear.flows if flow.peer[0] == "192.0.2.1"]
        self.assertEqual(len(regulars), 400, "nobody who is known was dropped")
        self.assertGreater(heard - len(regulars), 400, "strangers are served again once it is cleared")
        self.assertGreater(self.ear.dropped, 2_500)

    def test_a_burst_that_can_be_served_is_served(self) -> None:
        port = self.port(450)
        crowd: Any = port._socket
        while crowd.waiting:
            port.doRead()
        self.assertEqual((len(self.ear.messages), self.ear.dropped), (450, 0))

    def test_the_kernel_tells_how_much_waits(self) -> Any:
        async def conversation() -> None:
            node = Node(self, "udp:127.0.0.2:0")
            [port] = node.transports._udp.values()
            node.transports._reactor.removeReader(port)
            peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.addCleanup(peer.close)
            self.assertEqual(port._waiting(), 0)
            for _ in range(10):
                peer.sendto(options(), ("127.0.0.2", node.transports.listeners[0].port))
            await until(lambda: port._waiting() > 10 * len(options()))
            node.transports._reactor.addReader(port)
            await until(lambda: len(node.ear.messages) == 10)

        return ensureDeferred(conversation())
