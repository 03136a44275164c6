"""TLS beyond one certificate: names, sessions, the line for handshakes, clients that show who they are, aliases."""

import os
import socket
import ssl
import time
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread

from sbc.settings import List, Text
from sbc.transport import connections
from sbc.transport.flow import Destination
from sbc.transport.limits import SILENT, Limits
from sbc.transport.tls import TICKET_KEYS_SECONDS, ClientTrust, names_of
from tests.unit.transport.transport_world import CertificateCase, Node, options, stranger
from tests.waiting import PATIENCE, turns, until


class Dialogue:
    """A TLS client on bare bytes, which sees everything of the handshake."""

    def __init__(self, wire: Any, name: bytes = b"") -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.tls = SSL.Connection(context, None)
        if name:
            self.tls.set_tlsext_host_name(name)
        self.tls.set_connect_state()
        self.wire = wire
        self._taken = 0

    async def shake(self) -> "Dialogue":
        done = False

        def more() -> bool:
            nonlocal done
            heard = self.wire.heard[self._taken :]
            self._taken += len(heard)
            if heard:
                self.tls.bio_write(heard)
            try:
                self.tls.do_handshake()
                done = True
            except SSL.WantReadError:
                pass
            self.flush()
            return done

        await until(more, "the handshake")
        return self

    def flush(self) -> None:
        try:
            self.wire.say(self.tls.bio_read(65_535))
        except SSL.WantReadError:
            pass

    async def hears(self) -> bytes:
        """The next bytes inside; session tickets arrive on the way."""
        found = b""

        def more() -> bool:
            nonlocal found
            heard = self.wire.heard[self._taken :]
            self._taken += len(heard)
            if heard:
                self.tls.bio_write(heard)
            try:
                found += self.tls.recv(65_535)
            except SSL.WantReadError:
                pass
            return bool(found)

        await until(more, "an answer")
        return found

    def say(self, data: bytes) -> None:
        self.tls.send(data)
        self.flush()

    def shown(self) -> set[str]:
        """The names of the certificate that the server showed."""
        return names_of(self.tls.get_peer_certificate().to_cryptography())


class Names(CertificateCase):
    def several(self, **listen: Any) -> Node:
        more = [
            self.authority.files("two.example.com", "deux.example.com", file="two.pem"),
            self.authority.files("*.three.example.com", file="three.pem"),
        ]
        return self.server("one.example.com", certificates=List(Text()).read(more), **listen)

    def test_each_name_has_its_certificate_and_others_get_the_first(self) -> Any:
        async def conversation() -> None:
            server = self.several()
            for asked, shown in (
                (b"one.example.com", "one.example.com"),
                (b"two.example.com", "two.example.com"),
                (b"DEUX.example.com", "two.example.com"),
                (b"any.three.example.com", "*.three.example.com"),
                (b"three.example.com", "one.example.com"),
                (b"elsewhere.example.net", "one.example.com"),
                (b"", "one.example.com"),
            ):
                client = Dialogue(await stranger(self, server.place()), asked)
                await client.shake()
                self.assertIn(shown, client.shown(), asked)

        return ensureDeferred(conversation())

    def test_our_own_check_of_the_name_is_content(self) -> Any:
        async def conversation() -> None:
            server, client = self.several(), self.client()
            flow = await client.transports.connect(server.place(name="two.example.com"), side="upper")
            flow.send(options())
            await until(lambda: server.ear.messages)

        return ensureDeferred(conversation())

    def test_further_certificates_are_read_again_too(self) -> Any:
        async def conversation() -> None:
            server = self.several()
            self.authority.files("four.example.com", file="two.pem")
            server.transports.configure(server.listens, Limits())
            client = Dialogue(await stranger(self, server.place()), b"four.example.com")
            await client.shake()
            self.assertIn("four.example.com", client.shown())

        return ensureDeferred(conversation())

    def test_client_certificates_are_wanted_under_every_name(self) -> Any:
        async def conversation() -> None:
            server = self.several(client_ca=self.authority.file)
            client = Dialogue(await stranger(self, server.place()), b"two.example.com")
            try:
                await client.shake()
            except SSL.Error:
                pass  # TLS 1.2 would say so at once, 1.3 with the first bytes
            await until(lambda: client.wire.closed)
            self.assertEqual(server.ear.messages, [])

        return ensureDeferred(conversation())


class Sessions(CertificateCase):
    def visit(self, server: Node, version: ssl.TLSVersion, session: Any = None) -> tuple[bool, Any]:
        """In a thread: one connection with a ping and its pong; whether it resumed a session, and the one it leaves."""
        context = self.contexts.setdefault(version, ssl.create_default_context(cafile=self.authority.file))
        context.minimum_version = context.maximum_version = version
        place = server.place()
        with (
            socket.create_connection((place.host, place.port), timeout=PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="sip.example.com", session=session) as wire,
        ):
            wire.sendall(b"\r\n\r\n")
            assert wire.recv(2) == b"\r\n"  # and the tickets of TLS 1.3 on the way
            return bool(wire.session_reused), wire.session

    def test_a_phone_that_comes_back_resumes_its_session(self) -> Any:
        async def conversation() -> None:
            for more in ({}, {"client_ca": self.authority.file, "client_certificate": "optional"}):
                self.contexts: dict[ssl.TLSVersion, ssl.SSLContext] = {}
                server = self.server("sip.example.com", **more)
                for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                    reused, session = await deferToThread(self.visit, server, version)
                    self.assertFalse(reused)
                    reused, session = await deferToThread(self.visit, server, version, session)
                    self.assertTrue(reused, (version, more))
                    server.transports.configure(server.listens, Limits())
                    reused, _ = await deferToThread(self.visit, server, version, session)
                    self.assertFalse(reused, "a reload makes new ticket keys: what it revoked is not resumed")

        return ensureDeferred(conversation())

    def test_ticket_keys_change_with_time(self) -> Any:
        async def conversation() -> None:
            self.contexts = {}
            server = self.server("sip.example.com", "other.example.org")
            [identity] = server.transports._identities.values()
            version = ssl.TLSVersion.TLSv1_3
            _, session = await deferToThread(self.visit, server, version)
            identity._clock = lambda: time.monotonic() + TICKET_KEYS_SECONDS - 60.0
            reused, session = await deferToThread(self.visit, server, version, session)
            self.assertTrue(reused)
            identity._clock = lambda: time.monotonic() + TICKET_KEYS_SECONDS
            os.unlink(server.listens[0].certificate)
            reused, session = await deferToThread(self.visit, server, version, session)
            self.assertFalse(reused, "and the files are not asked for again")
            reused, _ = await deferToThread(self.visit, server, version, session)
            self.assertTrue(reused)

        return ensureDeferred(conversation())


class Line(CertificateCase):
    def test_a_storm_stands_in_line_and_is_served(self) -> Any:
        async def conversation() -> None:
            server = self.server("sip.example.com", limits=Limits(handshakes=1))
            clients = [Dialogue(await stranger(self, server.place()), b"x") for _ in range(12)]
            for client in clients:
                client.tls.set_connect_state()
            await until(lambda: len(server.transports.connections.all) == 12)
            self.assertGreater(len(server.transports.connections._turns), 6)
            server.transports.configure(server.listens, Limits(handshakes=20))
            for client in clients:
                await client.shake()
                client.say(b"\r\n\r\n")
                self.assertEqual(await client.hears(), b"\r\n")
            self.assertEqual(len(server.transports.connections._turns), 0)

        return ensureDeferred(conversation())

    def test_a_full_line_leaves_newcomers_to_the_kernel_until_it_is_half_empty(self) -> Any:
        self.patch(connections, "LINE_SECONDS", 4.0)

        async def conversation() -> None:
            server = self.server("sip.example.com", limits=Limits(handshakes=1))
            house = server.transports.connections
            callers = [await stranger(self, server.place()) for _ in range(14)]
            await until(lambda: house._crowded, "the line is full")
            self.assertLess(len(house.all), 14)
            server.transports.configure(server.listens, Limits(handshakes=20))
            await until(lambda: len(house.all) == 14, "the rest is accepted")
            for caller in callers:
                caller.transport.abortConnection()
            await until(lambda: not house.all)
            self.assertEqual(len(house._turns), 0)

        return ensureDeferred(conversation())

    def test_who_does_not_finish_its_handshake_is_cut(self) -> Any:
        async def conversation() -> None:
            server = self.server("sip.example.com", limits=Limits(handshake=0.2))
            silent = await stranger(self, server.place())
            await until(lambda: silent.closed)
            self.assertEqual(server.ear.refusals, [SILENT])

        return ensureDeferred(conversation())

    def test_stopping_calls_nobody(self) -> Any:
        async def conversation() -> None:
            server = self.server("sip.example.com", limits=Limits(handshakes=1))
            callers = [await stranger(self, server.place()) for _ in range(6)]
            await until(lambda: len(server.transports.connections._turns) > 1)
            await server.transports.stopService()
            await until(lambda: all(caller.closed for caller in callers))
            await turns()

        return ensureDeferred(conversation())


class Aliases(CertificateCase):
    """A peer connects to us; may we send requests for its name back on that connection (RFC 5923)?"""

    async def met(self, **listen: Any) -> tuple[Node, Any, Destination]:
        """A server of ours, the flow on which the peer came to it, and where the peer listens by itself."""
        listen = {"client_ca": self.authority.file, "client_certificate": "optional", **listen}
        server = self.server("sip.example.com", trust=ClientTrust(ca_file=self.authority.file), **listen)
        own = self.authority.files("pbx.example.com", "sip:example.com", file="peer.pem")
        peer = self.server("pbx.example.com", uri="tls:127.0.0.2:0")
        caller = self.client("tls:127.0.0.2:0", certificate=own, listen={"certificate": own})
        flow = await caller.transports.connect(server.place(name="sip.example.com"), side="upper")
        flow.send(options())
        await until(lambda: server.ear.flows)
        return server, server.ear.flows[0], peer.place(name="pbx.example.com")

    def test_the_connection_of_who_showed_the_name_is_used(self) -> Any:
        async def conversation() -> None:
            server, flow, place = await self.met()
            server.transports.alias(flow, place.port)
            self.assertIs(await server.transports.connect(place, side="upper"), flow)

        return ensureDeferred(conversation())

    def test_not_without_its_word(self) -> Any:
        async def conversation() -> None:
            server, flow, place = await self.met()
            self.assertIsNot(await server.transports.connect(place, side="upper"), flow)

        return ensureDeferred(conversation())

    def test_not_for_another_name_or_port(self) -> Any:
        async def conversation() -> None:
            server, flow, place = await self.met()
            server.transports.alias(flow, place.port + 1)
            self.assertIsNot(await server.transports.connect(place, side="upper"), flow)
            reusable = server.transports.connections.reusable
            self.assertIs(reusable((b"TLS", "127.0.0.2", place.port + 1, "pbx.example.com")), flow)
            self.assertIsNone(reusable((b"TLS", "127.0.0.2", place.port + 1, "bank.example.com")))

        return ensureDeferred(conversation())

    def test_not_where_the_client_showed_nothing_or_we_ask_for_nothing(self) -> Any:
        async def conversation() -> None:
            server, flow, place = await self.met(client_ca="")
            server.transports.alias(flow, place.port)
            self.assertIsNot(await server.transports.connect(place, side="upper"), flow)

        return ensureDeferred(conversation())

    def test_not_on_a_listener_for_phones(self) -> Any:
        async def conversation() -> None:
            server, flow, place = await self.met(side="client")
            server.transports.alias(flow, place.port)
            self.assertIsNone(server.transports.connections.reusable((b"TLS", place.host, place.port, place.name)))

        return ensureDeferred(conversation())

    def test_the_connection_that_we_opened_stays(self) -> Any:
        async def conversation() -> None:
            server, flow, place = await self.met()
            own = await server.transports.connect(place, side="upper")
            server.transports.alias(flow, place.port)
            self.assertIs(await server.transports.connect(place, side="upper"), own)

        return ensureDeferred(conversation())

    def test_an_ended_connection_leaves_no_alias(self) -> Any:
        async def conversation() -> None:
            server, flow, place = await self.met()
            server.transports.alias(flow, place.port)
            flow.close("enough")
            await until(lambda: flow not in server.transports.connections._aliases)
            self.assertIsNot(await server.transports.connect(place, side="upper"), flow)

        return ensureDeferred(conversation())
