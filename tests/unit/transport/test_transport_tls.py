"""TLS and WSS between nodes: who is believed, reloading under open connections, client certificates."""

import gc
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred

from sbc.transport.connections import UnreachableError
from sbc.transport.limits import BAD_HANDSHAKE, SILENT, Limits
from sbc.transport.stream import StreamConnection
from sbc.transport.tls import CertificateError, Connection, Files, ServerIdentity, check_name
from tests.unit.transport.test_transport_proxyprotocol import IPV4
from tests.unit.transport.transport_world import Authority, CertificateCase, options, stranger
from tests.waiting import turns, until


class Certificates(CertificateCase):
    def test_messages_both_ways(self) -> Any:
        async def conversation() -> None:
            server, client = self.server("sip.example.com"), self.client()
            flow = await client.transports.connect(server.place(name="sip.example.com"), side="upper")
            self.assertEqual((flow.transport, flow.secure, flow.reliable), (b"TLS", True, True))
            flow.send(options(1, bytes(50_000)))
            await until(lambda: server.ear.messages)
            server.ear.flows[0].send(options(2))
            await until(lambda: client.ear.messages)
            self.assertEqual(server.ear.messages, [options(1, bytes(50_000))])
            self.assertEqual(server.ear.flows[0].transport, b"TLS")

        return ensureDeferred(conversation())

    def test_wss(self) -> Any:
        async def conversation() -> None:
            server, client = self.server("127.0.0.3", uri="wss:127.0.0.3:0"), self.client()
            flow = await client.transports.connect(server.place(), side="upper")
            flow.send(options(1))
            await until(lambda: server.ear.messages)
            server.ear.flows[0].send(options(2))
            await until(lambda: client.ear.messages)
            self.assertEqual(server.ear.flows[0].transport, b"WSS")

        return ensureDeferred(conversation())

    def test_a_certificate_for_somebody_else_is_not_believed(self) -> Any:
        async def conversation() -> None:
            server, client = self.server("other.example.com"), self.client()
            with self.assertRaises(UnreachableError) as caught:
                await client.transports.connect(server.place(name="sip.example.com"), side="upper")
            self.assertIn("not for sip.example.com", str(caught.exception))
            self.assertEqual(server.ear.messages, [])

        return ensureDeferred(conversation())

    def test_an_unknown_authority_is_not_believed(self) -> Any:
        async def conversation() -> None:
            server, client = self.server("sip.example.com"), self.client(ca_file="")
            with self.assertRaises(UnreachableError) as caught:
                await client.transports.connect(server.place(name="sip.example.com"), side="upper")
            self.assertIn("not trusted", str(caught.exception))

        return ensureDeferred(conversation())

    def test_unless_the_operator_does_not_care(self) -> Any:
        async def conversation() -> None:
            server, client = self.server("other.example.com"), self.client(ca_file="", verify=False)
            flow = await client.transports.connect(server.place(name="sip.example.com"), side="upper")
            self.assertTrue(flow.open)

        return ensureDeferred(conversation())

    def test_each_name_has_a_connection_of_its_own(self) -> Any:
        async def conversation() -> None:
            server, client = self.server("a.example.com", "b.example.com"), self.client()
            one = await client.transports.connect(server.place(name="a.example.com"), side="upper")
            two = await client.transports.connect(server.place(name="b.example.com"), side="upper")
            again = await client.transports.connect(server.place(name="a.example.com"), side="upper")
            self.assertIsNot(one, two)
            self.assertIs(again, one)

        return ensureDeferred(conversation())

    def test_a_new_certificate_is_taken_without_dropping_connections(self) -> Any:
        async def conversation() -> None:
            server, client = self.server("old.example.com"), self.client()
            old = await client.transports.connect(server.place(name="old.example.com"), side="upper")
            moved = self.authority.files("new.example.com", file="elsewhere.pem")
            server.transports.configure([replace(server.listens[0], certificate=moved)], Limits())
            await client.transports.connect(server.place(name="new.example.com"), side="upper")
            old.send(options())
            await until(lambda: server.ear.messages)

        return ensureDeferred(conversation())

    def test_a_broken_file_keeps_the_certificate_in_use(self) -> Any:
        async def conversation() -> None:
            server, client = self.server("sip.example.com"), self.client()
            path = Path(self.authority.files("sip.example.com"))
            path.write_text("no certificate")
            self.assertRaises(CertificateError, server.transports.configure, server.listens, Limits())
            flow = await client.transports.connect(server.place(name="sip.example.com"), side="upper")
            self.assertTrue(flow.open)

        return ensureDeferred(conversation())

    def test_clients_may_have_to_show_a_certificate(self) -> Any:
        async def conversation() -> None:
            server = self.server("sip.example.com", client_ca=self.authority.file)
            nobody = self.client("tcp:127.0.0.4:0")
            flow = None
            try:
                # TLS 1.3 lets the client believe it is through before the server has looked at its certificate.
                flow = await nobody.transports.connect(server.place(name="sip.example.com"), side="upper")
            except UnreachableError:
                pass
            if flow is not None:
                await until(lambda: nobody.ear.losses)
            somebody = self.client(certificate=self.authority.files("phone.example.com", file="client.pem"))
            flow = await somebody.transports.connect(server.place(name="sip.example.com"), side="upper")
            flow.send(options())
            await until(lambda: server.ear.messages)
            self.assertEqual([flow.peer[0] for flow in server.ear.flows], ["127.0.0.2"])

        return ensureDeferred(conversation())

    def test_a_connection_that_ended_leaves_nothing_for_the_cyclic_collector(self) -> Any:
        def alive() -> int:
            return sum(isinstance(each, Connection | StreamConnection) for each in gc.get_objects())

        async def conversation() -> None:
            gc.collect()
            before = alive()
            gc.disable()
            self.addCleanup(gc.enable)
            server, client = self.server("sip.example.com"), self.client()
            for _ in range(5):
                flow = await client.transports.connect(server.place(name="sip.example.com"), side="upper")
                flow.send(options())
                await until(lambda: server.ear.flows)
                server.ear.flows.pop().close("test")
                await until(lambda flow=flow: not flow.open)
            client.ear.losses.clear()
            server.ear.losses.clear()
            await turns()
            self.assertLessEqual(alive() - before, 2)

        return ensureDeferred(conversation())

    def test_plain_sip_on_the_tls_port_and_silence_are_cut(self) -> Any:
        async def conversation() -> None:
            server = self.server("sip.example.com")
            talker = await stranger(self, server.place())
            talker.say(options())
            await until(lambda: talker.closed)
            server.transports.configure(server.listens, Limits(first_message=0.2, handshake=0.2))
            mute = await stranger(self, server.place())
            await until(lambda: mute.closed)
            self.assertEqual(server.ear.messages, [])
            self.assertEqual(server.ear.refusals, [BAD_HANDSHAKE, SILENT])

        return ensureDeferred(conversation())

    def test_behind_a_balancer_that_passes_tls_through(self) -> Any:
        async def conversation() -> None:
            from sbc.settings import Networks

            server = self.server("127.0.0.3", proxies=Networks().read(["127.0.0.9"]))
            from OpenSSL import SSL

            # The balancer's header and the hello of the client come in one piece.
            hello = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
            hello.set_connect_state()
            try:
                hello.do_handshake()
            except SSL.WantReadError:
                pass
            balancer = await stranger(self, server.place(), "127.0.0.9")
            balancer.say(IPV4 + hello.bio_read(65_535))
            await until(lambda: balancer.heard)
            for _ in range(20):
                hello.bio_write(balancer.heard)
                balancer.heard = b""
                try:
                    hello.do_handshake()
                    break
                except SSL.WantReadError:
                    await until(lambda: balancer.heard)
            hello.send(options())
            balancer.say(hello.bio_read(65_535))
            await until(lambda: server.ear.messages)
            self.assertEqual(server.ear.flows[0].peer, ("203.0.113.9", 50_001))

        return ensureDeferred(conversation())


def test_keys_that_others_can_read_are_refused(tmp_path: Path) -> None:
    path = Authority(str(tmp_path)).files("sip.example.com")
    os.chmod(path, 0o640)
    with pytest.raises(CertificateError, match=r"chmod 600"):
        ServerIdentity(Files(certificate=path))


def test_missing_and_wrong_files_are_named(tmp_path: Path) -> None:
    authority = Authority(str(tmp_path))
    good = authority.files("sip.example.com")
    other = authority.files("sip.example.com", file="other.pem")
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    empty.chmod(0o600)
    none = str(tmp_path / "none.pem")
    for files in (
        Files(certificate=none),
        Files(certificate=str(empty)),
        Files(certificate=good, key=other),
        Files(certificate=good, client_ca=none),
        Files(certificate=good, more=[none]),
    ):
        with pytest.raises(CertificateError, match=str(tmp_path)):
            ServerIdentity(files)


def test_who_a_certificate_is_for(tmp_path: Path) -> None:
    authority = Authority(str(tmp_path))
    good = (
        (("sip.example.com",), "sip.example.com"),
        (("*.example.com",), "sip.example.com"),
        (("192.0.2.1",), "192.0.2.1"),
        (("sip:example.com", "host.example.net"), "example.com"),
        (("sip:bob@example.net", "example.com"), "example.com"),
    )
    for names, name in good:
        check_name(authority.certificate(*names), name)
    bad = (
        (("sip.example.com",), "example.com"),
        (("*.example.com",), "example.com"),
        (("192.0.2.1",), "192.0.2.2"),
        (("sip:example.com", "host.example.net"), "host.example.net"),
        ((), "example.com"),
    )
    for names, name in bad:
        with pytest.raises(ValueError, match=r"not for"):
            check_name(authority.certificate(*names), name)
