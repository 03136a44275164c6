"""DNS questions with short time-outs, answers kept for their lifetime, failures for a while too."""

from collections.abc import Callable, Sequence
from socket import AF_INET6, inet_ntop
from typing import Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import DNSLookupError
from twisted.names import client, dns
from twisted.names.error import DNSNameError, DNSQueryTimeoutError, DomainError, ResolverError
from twisted.names.hosts import searchFileForAll
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath

from sbc.transport.address import DNS_PORT
from sbc.transport.order import Naptr, Srv

A, AAAA, SRV, NAPTR = "A", "AAAA", "SRV", "NAPTR"

MAX_SERVERS = 3
"""Servers asked one after the other, as the C library does."""
QUERY_TIMEOUTS = (1, 2)
"""Seconds per try and server; Twisted's own (1, 3, 11, 45) outlives every SIP transaction."""
MIN_TTL, MAX_TTL = 5.0, 3_600.0
"""Bounds in seconds to what a record's TTL may ask of us."""
HOSTS_TTL = 60.0
"""Seconds after which the hosts file is read again."""
NEGATIVE_TTL = 30.0
"""Seconds for which "no such record" is believed."""
TIMEOUT_TTL = 3.0
"""Seconds for which a silent DNS is not asked the same again."""
CACHED_ANSWERS = 10_000
"""Answers kept (about 10 MB); the oldest go first."""
RECORDS_PER_ANSWER = 64
"""Records taken of one answer."""
HEADERS_PER_ANSWER = 256
"""Records of one answer that are looked at; by TCP one may hold thousands."""

Record = str | Srv | Naptr


class UnansweredError(Exception):
    """DNS did not answer in time, or answered with a failure of its own."""


class Answering(Protocol):
    """Whoever answers DNS questions."""

    def ask(self, name: str, kind: str) -> "Deferred[tuple[Sequence[Record], float]]":
        """(records, TTL in seconds); no records when the name or type does not exist. Fails with UnansweredError."""


class Dns:
    """Questions put to DNS servers by twisted.names, after a look into the hosts file for addresses."""

    def __init__(self, reactor: Any, servers: Sequence[tuple[str, int]] = (), hosts_file: str = "/etc/hosts") -> None:
        """No `servers`: those of /etc/resolv.conf as it stands now."""
        self._resolver: Any = client.Resolver(  # type: ignore[no-untyped-call]
            servers=list(servers) or system_servers(), timeout=QUERY_TIMEOUTS, reactor=reactor
        )
        self._hosts = FilePath(hosts_file)

    def ask(self, name: str, kind: str) -> "Deferred[tuple[Sequence[Record], float]]":
        if kind in (A, AAAA):
            listed = [
                host
                for host in searchFileForAll(self._hosts, name.encode())  # type: ignore[no-untyped-call]
                if (":" in host) is (kind == AAAA)
            ]
            if listed:
                return succeed((listed, HOSTS_TTL))
        lookup = {
            A: self._resolver.lookupAddress,
            AAAA: self._resolver.lookupIPV6Address,
            SRV: self._resolver.lookupService,
            NAPTR: self._resolver.lookupNamingAuthorityPointer,
        }[kind]
        answer: Deferred[Any] = lookup(name.encode("ascii"), timeout=QUERY_TIMEOUTS)
        return answer.addCallbacks(_records, _no_records, callbackArgs=(kind, name))


def system_servers(path: str = "/etc/resolv.conf") -> list[tuple[str, int]]:
    """The name servers of resolv.conf, at most MAX_SERVERS; this machine itself when there is none."""
    try:
        with open(path, encoding="ascii", errors="replace") as lines:
            words = [line.split() for line in lines]
    except OSError:
        words = []
    found = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    return [(host, DNS_PORT) for host in found[:MAX_SERVERS]] or [("127.0.0.1", DNS_PORT)]


def _records(answer: Any, kind: str, name: str) -> tuple[Sequence[Record], float]:
    """The records of that type for the name, or for what it is an alias of; others that were not asked for are not
    believed."""
    wanted = {A: dns.A, AAAA: dns.AAAA, SRV: dns.SRV, NAPTR: dns.NAPTR}[kind]
    headers = answer[0][:HEADERS_PER_ANSWER]
    aliases = {_folded(header.name): _folded(header.payload.name) for header in headers if header.type == dns.CNAME}
    names = {_folded(dns.Name(name))}
    last = next(iter(names))
    while (last := aliases.pop(last, "")) and last not in names:
        names.add(last)
    found: list[Record] = []
    ttl = MAX_TTL
    for header in headers:
        if header.type == wanted and _folded(header.name) in names and len(found) < RECORDS_PER_ANSWER:
            found.append(_record(header.payload, kind))
            ttl = min(ttl, float(header.ttl))
    return found, ttl if found else NEGATIVE_TTL


def _folded(name: Any) -> str:
    return _name(name).lower()


def _record(payload: Any, kind: str) -> Record:
    if kind in (A, AAAA):
        return str(payload.dottedQuad() if kind == A else inet_ntop(AF_INET6, payload.address))
    if kind == SRV:
        return Srv(payload.priority, payload.weight, payload.port, _name(payload.target))
    return Naptr(
        payload.order,
        payload.preference,
        payload.flags.string.decode("ascii", "replace").lower(),
        payload.service.string.decode("ascii", "replace").lower(),
        _name(payload.replacement),
    )


def _name(name: Any) -> str:
    return str(name.name.decode("ascii", "replace").rstrip("."))


def _no_records(failure: Failure) -> tuple[Sequence[Record], float]:
    if failure.check(DNSNameError):  # type: ignore[no-untyped-call]
        return (), NEGATIVE_TTL
    failure.trap(DNSLookupError, DomainError, DNSQueryTimeoutError, ResolverError, DeferredTimeout, OSError)  # type: ignore[no-untyped-call]
    raise UnansweredError(failure.getErrorMessage() or type(failure.value).__name__)


class CachedNames:
    """Answers, kept; each question is asked once however many wait for it."""

    def __init__(self, source: Answering, clock: Callable[[], float], *, limit: int = CACHED_ANSWERS) -> None:
        self._source = source
        self._clock = clock
        self._limit = limit
        self._kept: dict[tuple[str, str], tuple[float, Sequence[Record] | None]] = {}
        self._asking: dict[tuple[str, str], list[Deferred[Sequence[Record]]]] = {}

    def ask(self, name: str, kind: str) -> "Deferred[Sequence[Record]]":
        """The records of that name and type, none if there are none. Fails with UnansweredError."""
        key = (name.lower().rstrip("."), kind)
        until, records = self._kept.get(key, (0.0, None))
        waiting: Deferred[Sequence[Record]] = Deferred(lambda _: None)
        if self._clock() < until:
            if records is None:
                waiting.errback(UnansweredError(f"{kind} of {name}: no answer a moment ago"))
            else:
                waiting.callback(records)
            return waiting
        if key in self._asking:
            self._asking[key].append(waiting)
            return waiting
        self._asking[key] = [waiting]
        maybeDeferred(self._source.ask, *key).addCallbacks(
            self._answered, self._failed, callbackArgs=(key,), errbackArgs=(key,)
        )
        return waiting

    def forget(self) -> None:
        """Drop everything kept (the operator changed DNS)."""
        self._kept.clear()

    def _answered(self, answer: tuple[Sequence[Record], float], key: tuple[str, str]) -> None:
        records, ttl = answer
        self._keep(key, min(max(ttl, MIN_TTL), MAX_TTL), records)
        for waiting in self._asking.pop(key):
            if not waiting.called:
                waiting.callback(records)

    def _failed(self, failure: Failure, key: tuple[str, str]) -> None:
        self._keep(key, TIMEOUT_TTL, None)
        for waiting in self._asking.pop(key):
            if not waiting.called:
                waiting.errback(failure)

    def _keep(self, key: tuple[str, str], ttl: float, records: Sequence[Record] | None) -> None:
        self._kept.pop(key, None)
        while len(self._kept) >= self._limit:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (self._clock() + ttl, records)
