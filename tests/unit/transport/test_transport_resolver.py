"""Where URIs lead: RFC 3263 against a DNS of our own making, and the real twisted.names against a server in memory."""

from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.names import dns
from twisted.names.error import ResolverError
from twisted.names.server import DNSServerFactory
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sbc.sip.uri import Uri
from sbc.transport import names
from sbc.transport.flow import Destination
from sbc.transport.names import (
    AAAA,
    NAPTR,
    RECORDS_PER_ANSWER,
    SRV,
    A,
    CachedNames,
    Dns,
    Record,
    UnansweredError,
    system_servers,
)
from sbc.transport.order import Naptr, Srv, order_naptr, order_srv
from sbc.transport.resolver import Resolver, UnresolvableError

SILENT = None


class Zone:
    """Answers at once from a table; None stands for a server that does not answer."""

    def __init__(self, table: dict[tuple[str, str], Sequence[Record] | None] | None = None) -> None:
        self.table = table or {}
        self.asked: list[tuple[str, str]] = []
        self.ttl = 60.0
        self.held: Deferred[Any] | None = None

    def ask(self, name: str, kind: str) -> "Deferred[tuple[Sequence[Record], float]]":
        self.asked.append((name, kind))
        records = self.table.get((name, kind), ())
        answer: Deferred[Any] = Deferred()
        if self.held is not None:
            self.held = answer
        elif records is SILENT:
            answer.errback(UnansweredError(name))
        else:
            answer.callback((records, self.ttl))
        return answer


class Resolving(SynchronousTestCase):
    def resolve(self, uri: str, zone: Zone | None = None, transport: bytes | None = None, **more: Any) -> list[str]:
        """The destinations in short: `UDP 192.0.2.1:5060`."""
        names = CachedNames(zone or Zone(), lambda: 0.0)
        resolver = Resolver(None, names=names, random=lambda: 0.5, **more)
        found: list[Destination] = self.successResultOf(resolver.resolve(Uri.parse(uri.encode()), transport))
        return [f"{each.transport.decode()} {each.host}:{each.port}" for each in found]

    def fails(self, uri: str, zone: Zone | None = None) -> int:
        names = CachedNames(zone or Zone(), lambda: 0.0)
        resolver = Resolver(None, names=names)
        failure = self.failureResultOf(resolver.resolve(Uri.parse(uri.encode())), UnresolvableError)
        status: int = failure.value.status
        return status

    def test_addresses_need_no_dns(self) -> None:
        zone = Zone()
        self.assertEqual(self.resolve("sip:a@192.0.2.1", zone), ["UDP 192.0.2.1:5060"])
        self.assertEqual(self.resolve("sip:a@192.0.2.1:5070;transport=tcp", zone), ["TCP 192.0.2.1:5070"])
        self.assertEqual(self.resolve("sips:a@192.0.2.1", zone), ["TLS 192.0.2.1:5061"])
        self.assertEqual(self.resolve("sips:a@192.0.2.1;transport=tcp", zone), ["TLS 192.0.2.1:5061"])
        self.assertEqual(self.resolve("sip:a@[2001:db8::1];transport=TLS", zone), ["TLS 2001:db8::1:5061"])
        self.assertEqual(self.resolve("sip:a@pbx.example.com;maddr=192.0.2.9", zone), ["UDP 192.0.2.9:5060"])
        self.assertEqual(self.resolve("sip:a@192.0.2.1", zone, b"WS"), ["WS 192.0.2.1:80"])
        self.assertEqual(zone.asked, [])

    def test_a_port_means_the_address_of_the_name_itself(self) -> None:
        zone = Zone({("pbx.example.com", A): ["192.0.2.1"], ("pbx.example.com", AAAA): ["2001:db8::1"]})
        self.assertEqual(self.resolve("sip:pbx.example.com:5070", zone), ["UDP 2001:db8::1:5070", "UDP 192.0.2.1:5070"])
        self.assertEqual(self.resolve("sip:pbx.example.com:5070", zone, ipv6=False), ["UDP 192.0.2.1:5070"])
        self.assertNotIn(NAPTR, {kind for _, kind in zone.asked})

    def test_naptr_says_which_transport_comes_first(self) -> None:
        zone = Zone(
            {
                ("example.com", NAPTR): [
                    Naptr(20, 10, "s", "sip+d2u", "_sip._udp.example.com"),
                    Naptr(10, 50, "s", "sips+d2t", "_sips._tcp.example.com"),
                    Naptr(10, 60, "s", "sip+d2s", "_sip._sctp.example.com"),
                    Naptr(1, 1, "u", "e2u+sip", ""),
                ],
                ("_sips._tcp.example.com", SRV): [Srv(0, 0, 5081, "tls.example.com")],
                ("_sip._udp.example.com", SRV): [Srv(0, 0, 5080, "udp.example.com")],
                ("tls.example.com", A): ["192.0.2.1"],
                ("udp.example.com", A): ["192.0.2.2"],
            }
        )
        self.assertEqual(self.resolve("sip:example.com", zone), ["TLS 192.0.2.1:5081", "UDP 192.0.2.2:5080"])
        self.assertEqual(self.resolve("sips:example.com", zone), ["TLS 192.0.2.1:5081"])

    def test_without_naptr_the_service_names_are_tried(self) -> None:
        zone = Zone(
            {
                ("_sip._tcp.example.com", SRV): [Srv(0, 0, 5060, "pbx.example.com")],
                ("_sip._udp.example.com", SRV): [Srv(0, 0, 5062, "pbx.example.com")],
                ("pbx.example.com", A): ["192.0.2.1"],
            }
        )
        self.assertEqual(self.resolve("sip:example.com", zone), ["UDP 192.0.2.1:5062", "TCP 192.0.2.1:5060"])
        self.assertEqual(self.resolve("sip:example.com;transport=tcp", zone), ["TCP 192.0.2.1:5060"])

    def test_servers_stand_in_their_order_for_failover(self) -> None:
        zone = Zone(
            {
                ("_sip._udp.example.com", SRV): [Srv(20, 0, 5060, "c.example"), Srv(10, 0, 5060, "a.example")],
                ("a.example", A): ["192.0.2.1", "192.0.2.2"],
                ("c.example", A): ["192.0.2.3"],
            }
        )
        self.assertEqual(
            self.resolve("sip:example.com;transport=udp", zone),
            ["UDP 192.0.2.1:5060", "UDP 192.0.2.2:5060", "UDP 192.0.2.3:5060"],
        )

    def test_without_any_service_record_the_name_itself_is_asked(self) -> None:
        zone = Zone({("pbx.example.com", A): ["192.0.2.1"]})
        self.assertEqual(self.resolve("sip:pbx.example.com", zone), ["UDP 192.0.2.1:5060"])
        self.assertEqual(self.resolve("sip:pbx.example.com;transport=tls", zone), ["TLS 192.0.2.1:5061"])

    def test_a_resolver_that_chokes_on_naptr_or_aaaa_does_not_matter(self) -> None:
        zone = Zone(
            {
                ("pbx.example.com", NAPTR): SILENT,
                ("_sip._udp.pbx.example.com", SRV): SILENT,
                ("_sip._tcp.pbx.example.com", SRV): [Srv(0, 0, 5060, "pbx.example.com")],
                ("pbx.example.com", AAAA): SILENT,
                ("pbx.example.com", A): ["192.0.2.1"],
            }
        )
        self.assertEqual(self.resolve("sip:pbx.example.com", zone), ["TCP 192.0.2.1:5060"])

    def test_the_number_of_destinations_is_bounded(self) -> None:
        zone = Zone({("big.example", A): [f"192.0.2.{number}" for number in range(1, 60)]})
        self.assertEqual(len(self.resolve("sip:big.example:5060", zone)), 16)

    def test_a_service_that_leads_to_nonsense_leads_nowhere(self) -> None:
        for target in (
            "",
            ".",
            "_sip._udp.loop.example",
            "x" * 250 + ".example",
            "ex ample",
            "bad\0name",
            "\ufffd.example",
        ):
            self.assertEqual(
                self.fails("sip:loop.example", Zone({("_sip._udp.loop.example", SRV): [Srv(0, 0, 5060, target)]})), 404
            )
        self.assertEqual(
            self.fails("sip:x.example", Zone({("_sip._udp.x.example", SRV): [Srv(0, 0, 0, "192.0.2.1")]})), 404
        )
        naptr = Naptr(0, 0, "s", "sip+d2u", "not a name")
        self.assertEqual(self.fails("sip:x.example", Zone({("x.example", NAPTR): [naptr]})), 404)

    def test_what_leads_nowhere(self) -> None:
        silent = Zone({("pbx.example.com", kind): SILENT for kind in (A, AAAA)})
        self.assertEqual(self.fails("sip:pbx.example.com:5060", silent), 503)
        self.assertEqual(self.fails("sip:nobody.example.com"), 404)
        self.assertEqual(self.fails("sip:192.0.2.1;transport=sctp"), 503)
        self.assertEqual(self.fails("sips:192.0.2.1;transport=udp"), 503)
        self.assertEqual(self.fails("sip:a@b;maddr=..%2F"), 404)

    def test_a_certificate_must_be_for_the_domain_of_the_uri(self) -> None:
        zone = Zone(
            {
                ("_sips._tcp.example.com", SRV): [Srv(0, 0, 5061, "host.provider.example")],
                ("host.provider.example", A): ["192.0.2.1"],
            }
        )
        resolver = Resolver(None, names=CachedNames(zone, lambda: 0.0))
        found = self.successResultOf(resolver.resolve(Uri.parse(b"sips:example.com")))
        self.assertEqual(found, [Destination(b"TLS", "192.0.2.1", 5061, "example.com")])


class Order(SynchronousTestCase):
    def test_weights_share_the_load(self) -> None:
        records = [Srv(0, 3, 1, "three"), Srv(0, 1, 1, "one"), Srv(1, 0, 1, "spare")]
        first = [order_srv(records, lambda step=step: step / 100)[0].target for step in range(100)]  # type: ignore[misc]
        self.assertTrue(60 <= first.count("three") <= 80, first.count("three"))
        self.assertTrue(all(order_srv(records, lambda: 0.3)[-1].target == "spare" for _ in range(3)))

    def test_weight_nothing_is_drawn_only_by_nothing(self) -> None:
        records = [Srv(0, 10, 1, "heavy"), Srv(0, 0, 1, "light")]
        self.assertEqual(order_srv(records, lambda: 0.0)[0].target, "light")
        self.assertEqual(order_srv(records, lambda: 0.5)[0].target, "heavy")
        self.assertEqual(len(order_srv(records, lambda: 0.999)), 2)

    def test_a_service_declared_absent(self) -> None:
        self.assertEqual(order_srv([Srv(0, 0, 0, "")], lambda: 0.0), [])
        self.assertEqual(order_naptr([Naptr(1, 1, "s", "sip+d2u", "")], [b"UDP"]), [])


class Keeping(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        self.zone = Zone({("a.example", A): ["192.0.2.1"]})
        self.names = CachedNames(self.zone, lambda: self.now, limit=3)

    def test_an_answer_is_kept_for_its_lifetime(self) -> None:
        for _ in range(3):
            self.assertEqual(self.successResultOf(self.names.ask("A.example.", A)), ["192.0.2.1"])
        self.assertEqual(len(self.zone.asked), 1)
        self.now = 61.0
        self.successResultOf(self.names.ask("a.example", A))
        self.assertEqual(len(self.zone.asked), 2)

    def test_a_lifetime_of_nothing_does_not_ask_for_each_call(self) -> None:
        self.zone.ttl = 0.0
        for _ in range(3):
            self.successResultOf(self.names.ask("a.example", A))
        self.assertEqual(len(self.zone.asked), 1)

    def test_no_and_silence_are_kept_too(self) -> None:
        self.zone.table["dead.example", A] = SILENT
        for _ in range(3):
            self.assertEqual(self.successResultOf(self.names.ask("none.example", A)), ())
            self.failureResultOf(self.names.ask("dead.example", A), UnansweredError)
        self.assertEqual(len(self.zone.asked), 2)
        self.now = 4.0
        self.zone.table["dead.example", A] = ["192.0.2.4"]
        self.assertEqual(self.successResultOf(self.names.ask("dead.example", A)), ["192.0.2.4"])

    def test_the_same_question_is_asked_once_for_all_who_wait(self) -> None:
        self.zone.held = Deferred()
        waiting = [self.names.ask("a.example", A) for _ in range(3)]
        waiting[0].addErrback(lambda _: None)
        waiting[0].cancel()
        self.assertEqual(len(self.zone.asked), 1)
        self.zone.held.callback((["192.0.2.1"], 60.0))
        self.assertEqual([self.successResultOf(each) for each in waiting[1:]], [["192.0.2.1"]] * 2)

    def test_the_memory_is_bounded(self) -> None:
        for number in range(50):
            self.successResultOf(self.names.ask(f"{number}.example", A))
        self.assertEqual(len(self.names._kept), 3)
        self.names.forget()
        self.assertEqual(len(self.names._kept), 0)


class NameServer:
    """Answers real queries on a UDP port of loopback."""

    def __init__(self, case: TestCase) -> None:
        self.protocol = dns.DNSDatagramProtocol(DNSServerFactory(clients=[self]))  # type: ignore[no-untyped-call]
        self.port: Any = reactor.listenUDP(0, self.protocol, interface="127.0.0.7")  # type: ignore[attr-defined]
        case.addCleanup(self.port.stopListening)
        self.address = ("127.0.0.7", self.port.getHost().port)
        self.silent = False

    def query(self, query: Any, timeout: Any = None) -> Any:
        """What twisted.names asks of whoever answers."""
        name, answer = query.name.name, Deferred[Any]()
        if self.silent:
            answer.errback(ResolverError())
            return answer
        service = b"_sip._tcp.example.com"
        payloads = {
            (b"example.com", dns.NAPTR): dns.Record_NAPTR(10, 10, b"S", b"SIP+D2T", b"", service, ttl=60),
            (service, dns.SRV): dns.Record_SRV(0, 5, 5070, b"pbx.example.com", ttl=60),
            (b"pbx.example.com", dns.A): dns.Record_A("192.0.2.1", ttl=60),
            (b"pbx.example.com", dns.AAAA): dns.Record_AAAA("2001:db8::1", ttl=60),
        }
        payload = payloads.get((name, query.type))
        found = [dns.RRHeader(name, query.type, payload=payload, ttl=60)] if payload else []
        answer.callback((found, [], []))
        return answer


class RealDns(TestCase):
    def setUp(self) -> None:
        self.patch(names, "QUERY_TIMEOUTS", (20, 20))

    def test_a_domain_with_all_kinds_of_records(self) -> Any:
        async def conversation() -> None:
            server = NameServer(self)
            resolver = Resolver(reactor, nameservers=[server.address])
            found = await resolver.resolve(Uri.parse(b"sip:bob@example.com"))
            self.assertEqual(
                found,
                [
                    Destination(b"TCP", "2001:db8::1", 5070, "example.com"),
                    Destination(b"TCP", "192.0.2.1", 5070, "example.com"),
                ],
            )

        return ensureDeferred(conversation())

    def test_the_hosts_file_comes_first(self) -> Any:
        async def conversation() -> None:
            path = self.mktemp()
            with open(path, "w") as file:
                file.write("192.0.2.77 pbx.example.com pbx\n2001:db8::77 PBX\n# 192.0.2.78 pbx\n")
            source = Dns(reactor, [NameServer(self).address], path)
            self.assertEqual((await source.ask("pbx", A))[0], ["192.0.2.77"])
            self.assertEqual((await source.ask("pbx", AAAA))[0], ["2001:db8::77"])

        return ensureDeferred(conversation())

    def test_a_server_that_fails(self) -> Any:
        async def conversation() -> None:
            server = NameServer(self)
            server.silent = True
            with self.assertRaises(UnansweredError):
                await Dns(reactor, [server.address]).ask("pbx.example.com", A)
            self.flushLoggedErrors(ResolverError)

        return ensureDeferred(conversation())

    def test_the_servers_of_the_system(self) -> None:
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("search x\n" + "".join(f"nameserver 192.0.2.{number}\n" for number in range(1, 6)))
        self.assertEqual(system_servers(path), [(f"192.0.2.{number}", 53) for number in range(1, 4)])
        self.assertEqual(system_servers(path + ".none"), [("127.0.0.1", 53)])


class Hostile(TestCase):
    """Answers that say more, or something else, than was asked."""

    def setUp(self) -> None:
        self.patch(names, "QUERY_TIMEOUTS", (20, 20))

    async def asked(self, name: str, kind: str, *records: tuple[str, Any]) -> Any:
        headers = [dns.RRHeader(owner.encode(), each.TYPE, payload=each, ttl=60) for owner, each in records]

        class Says:
            def query(self, query: Any, timeout: Any = None) -> Any:
                return succeed((headers, [], []))

        server = NameServer(self)
        server.query = Says().query  # type: ignore[method-assign]
        return (await Dns(reactor, [server.address]).ask(name, kind))[0]

    def test_an_alias_is_followed(self) -> Any:
        async def conversation() -> None:
            cname = dns.Record_CNAME
            found = await self.asked(
                "sip.example.com", A, ("B.example.net", dns.Record_A("192.0.2.2")),
                ("sip.example.com", cname(b"a.example.net")), ("a.example.net", cname(b"b.example.net")),
            )  # fmt: skip
            self.assertEqual(found, ["192.0.2.2"])

        return ensureDeferred(conversation())

    def test_records_of_other_names_are_not_believed(self) -> Any:
        async def conversation() -> None:
            found = await self.asked(
                "sip.example.com", A, ("bank.example.net", dns.Record_A("192.0.2.66")),
                ("sip.example.com", dns.Record_A("192.0.2.1")),
            )  # fmt: skip
            self.assertEqual(found, ["192.0.2.1"])
            service = dns.Record_SRV(0, 0, 5060, b"evil.example.net")
            self.assertEqual(await self.asked("_sip._udp.example.com", SRV, ("_sip._udp.example.net", service)), [])

        return ensureDeferred(conversation())

    def test_aliases_in_a_ring_lead_nowhere(self) -> Any:
        async def conversation() -> None:
            cname = dns.Record_CNAME
            found = await self.asked(
                "a.example.com",
                A,
                ("a.example.com", cname(b"b.example.com")),
                ("b.example.com", cname(b"a.example.com")),
            )
            self.assertEqual(found, [])
            self.assertEqual(await self.asked("a.example.com", A, ("a.example.com", cname(b"a.example.com"))), [])

        return ensureDeferred(conversation())

    def test_of_a_flood_of_records_some_are_taken(self) -> Any:
        async def conversation() -> None:
            many = [("x.example.com", dns.Record_A(f"192.0.{number // 250}.{number % 250}")) for number in range(2_000)]
            found = await self.asked("x.example.com", A, *many[:400])
            self.assertLessEqual(len(found), RECORDS_PER_ANSWER)

        return ensureDeferred(conversation())
