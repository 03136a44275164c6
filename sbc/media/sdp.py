"""Session descriptions (RFC 8866) as the relay needs them: typed where they say where media goes, raw everywhere else.

A description is its lines in order. Reading never changes one; only the edits below replace single lines, so that
`parse(body).render() == body` for every body that parses, whatever line ends, blanks or unknown lines it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from sbc.sip.errors import ParseError

#: Bytes of one description; the largest WebRTC offers seen have some 20 KiB.
MAX_BODY = 65_536
#: Media lines of one description: each may cost four sockets.
MAX_MEDIA = 16
#: Attribute lines of one description: each is looked at at most a few times.
MAX_ATTRIBUTES = 512
#: Highest UDP port.
MAX_PORT = 65_535

SENDRECV, SENDONLY, RECVONLY, INACTIVE = b"sendrecv", b"sendonly", b"recvonly", b"inactive"
DIRECTIONS = frozenset({SENDRECV, SENDONLY, RECVONLY, INACTIVE})

#: Clock rates of the static payload types (RFC 3551 section 6); everything else names its rate in a=rtpmap.
STATIC_CLOCKS = {
    5: 8000, 6: 16000, 10: 44100, 11: 44100, 14: 90000, 16: 11025, 17: 22050,
    25: 90000, 26: 90000, 28: 90000, 31: 90000, 32: 90000, 33: 90000, 34: 90000,
}  # fmt: skip
DEFAULT_CLOCK = 8000


#: Addresses remembered in parsed form; a call mentions its few addresses some forty times.
KNOWN_ADDRESSES = 4096


@lru_cache(maxsize=KNOWN_ADDRESSES)
def literal(text: str) -> IPv4Address | IPv6Address | None:
    """The address that `text` writes, an IPv4-mapped one as IPv4; None for a host name or anything else."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@dataclass(frozen=True, slots=True)
class Connection:
    """The value of a `c=` line: `host` is an address or, seldom, a name; a multicast suffix (`/ttl`) is cut off."""

    host: str

    @staticmethod
    @lru_cache(maxsize=KNOWN_ADDRESSES)
    def parse(value: bytes) -> Connection:
        """Raises `ParseError` unless the value is `IN IP4|IP6 address`."""
        words = value.split()
        if len(words) != 3 or words[0].upper() != b"IN" or words[1].upper() not in (b"IP4", b"IP6"):
            raise ParseError(b"SDP: malformed c= line")
        return Connection(_text(words[2].partition(b"/")[0]))

    @property
    def unspecified(self) -> bool:
        """Whether this is the null address: "send me nothing" (RFC 3264 section 8.4)."""
        address = literal(self.host)
        return address is not None and address.is_unspecified


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stream is received: a host (address or name) and a port."""

    host: str
    port: int


class Section:
    """A run of lines, each with its own line end: the session part, or one media description."""

    __slots__ = ("_first", "lines")

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines
        self._first: dict[bytes, bytes | None] | None = None

    def value(self, kind: bytes) -> bytes | None:
        """The value of the first line of this type (`kind` is its letter), without its line end."""
        for line in self.lines:
            if line[:1] == kind and line[1:2] == b"=":
                return line[2:].rstrip(b"\r\n")
        return None

    def attributes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Name (lower case) and value of each `a=` line in order; the value of a flag is None."""
        for line in self.lines:
            if line[:2] == b"a=":
                name, colon, value = line[2:].rstrip(b"\r\n").partition(b":")
                yield name.strip().lower(), value if colon else None

    def attribute(self, name: bytes) -> bytes | None:
        """The value of the first attribute of this name: b"" for a flag, None when it is absent."""
        first = self._firsts()
        return (first[name] or b"") if name in first else None

    def has(self, name: bytes) -> bool:
        """Whether an attribute of this name is present."""
        return name in self._firsts()

    def _firsts(self) -> dict[bytes, bytes | None]:
        """The first attribute of each name, in the order of the lines; read once until the next edit."""
        if self._first is None:
            self._first = {}
            for name, value in self.attributes():
                self._first.setdefault(name, value)
        return self._first

    @property
    def connection(self) -> Connection | None:
        """This section's own `c=` line. Raises `ParseError` when it is malformed."""
        value = self.value(b"c")
        return None if value is None else Connection.parse(value)

    @property
    def direction(self) -> bytes | None:
        """The first direction attribute of this section, if any."""
        for name, value in self._firsts().items():
            if value is None and name in DIRECTIONS:
                return name
        return None

    def replace(self, kind: bytes, value: bytes) -> bool:
        """Write `value` into every line of this type, keeping line ends; False when there is none."""
        found = False
        for index, line in enumerate(self.lines):
            if line[:1] == kind and line[1:2] == b"=":
                self.lines[index] = kind + b"=" + value + line_end(line)
                found = True
        return found

    def insert(self, kind: bytes, value: bytes, after: bytes) -> None:
        """Add a line behind the last line whose type is one of the letters in `after` (or behind the first line)."""
        place = 0
        for index, line in enumerate(self.lines):
            if line[1:2] == b"=" and line[:1] in after:
                place = index
        end = line_end(self.lines[place]) or b"\r\n"
        self.lines[place] = self.lines[place].rstrip(b"\r\n") + end
        self.lines.insert(place + 1, kind + b"=" + value + end)

    def drop(self, names: frozenset[bytes]) -> None:
        """Remove the attributes of these names."""
        if not names.isdisjoint(self._firsts()):
            self._keep(line for line in self.lines if line[:2] != b"a=" or _name(line) not in names)

    def unbundle(self) -> None:
        """Remove the groups that share one port (RFC 9143)."""
        self._keep(line for line in self.lines if not line.lower().startswith(b"a=group:bundle"))

    def _keep(self, lines: Iterable[bytes]) -> None:
        self.lines = list(lines)
        self._first = None

    def rename(self, name: bytes, value: bytes) -> None:
        """Write `value` into every attribute of this name."""
        self._first = None
        for index, line in enumerate(self.lines):
            if line[:2] == b"a=" and _name(line) == name:
                self.lines[index] = b"a=" + name + b":" + value + line_end(line)


class Media(Section):
    """One media description; its first line is the `m=` line."""

    __slots__ = ("formats", "kind", "port", "protocol")

    def __init__(self, lines: list[bytes]) -> None:
        super().__init__(lines)
        words = lines[0][2:].rstrip(b"\r\n").split()
        if len(words) < 3:
            raise ParseError(b"SDP: malformed m= line")
        self.kind = words[0]
        self.port = _port(words[1].partition(b"/")[0])
        self.protocol = words[2]
        self.formats = tuple(words[3:])

    def move(self, port: int) -> None:
        """Name another port. A port count (`/2`, layered streams) goes: the relay forwards one port pair."""
        words = [b"m=" + self.kind, b"%d" % port, self.protocol, *self.formats]
        self.lines[0] = b" ".join(words) + line_end(self.lines[0])
        self.port = port

    @property
    def transport(self) -> bytes:
        """The protocol in upper case: implementations differ in its case."""
        return self.protocol.upper()

    @property
    def rtp(self) -> bool:
        """Whether the packets are RTP, clear or encrypted: its header is readable in both."""
        return b"RTP/" in self.transport

    @property
    def muxed(self) -> bool:
        """Whether RTP and RTCP share a port, as far as this side says (RFC 5761, RFC 8858)."""
        return self.has(b"rtcp-mux") or self.has(b"rtcp-mux-only")

    @property
    def rtcp(self) -> tuple[int, Connection | None] | None:
        """The `a=rtcp` attribute (RFC 3605): port and, if it names one, address. Raises `ParseError`."""
        value = self.attribute(b"rtcp")
        if value is None:
            return None
        port, _, rest = value.strip().partition(b" ")
        return _port(port), Connection.parse(rest) if rest.strip() else None

    def clocks(self) -> dict[int, int]:
        """Clock rate in Hz by payload type, of the formats this description lists."""
        rates = {int(word): STATIC_CLOCKS.get(int(word), DEFAULT_CLOCK) for word in self.formats if _short(word)}
        for name, value in self.attributes():
            if name == b"rtpmap" and value is not None:
                number, _, encoding = value.strip().partition(b" ")
                rate = encoding.strip().split(b"/")[1:2]
                if rate and _short(number) and rate[0].isdigit() and 0 < len(rate[0]) <= 6 and int(rate[0]):
                    rates[int(number)] = int(rate[0])
        return rates


class Session:
    """A whole description: `head` is the session part, `media` the media descriptions in order."""

    __slots__ = ("head", "media")

    def __init__(self, head: Section, media: list[Media]) -> None:
        self.head = head
        self.media = media

    def render(self) -> bytes:
        """The body: every line nobody edited is as it came."""
        return b"".join(line for section in (self.head, *self.media) for line in section.lines)

    def copy(self) -> Session:
        """A description of its own, for editing."""
        return Session(Section(list(self.head.lines)), [Media(list(media.lines)) for media in self.media])

    def connection(self, media: Media) -> Connection | None:
        """Where this media is received: its own `c=`, else the session's. Raises `ParseError`."""
        return media.connection or self.head.connection

    def direction(self, media: Media) -> bytes:
        """The direction of this media: its own, else the session's, else sendrecv (RFC 8866 section 6.7)."""
        return media.direction or self.head.direction or SENDRECV

    def rtp_place(self, media: Media) -> Place | None:
        """Where RTP is wanted; None for a rejected media, the null address, or when no `c=` applies."""
        connection = self.connection(media)
        if connection is None or connection.unspecified or not media.port:
            return None
        return Place(connection.host, media.port)

    def rtcp_place(self, media: Media) -> Place | None:
        """Where RTCP is wanted: `a=rtcp`, else one port above RTP. None as for `rtp_place`."""
        place = self.rtp_place(media)
        if place is None:
            return None
        explicit = media.rtcp
        if explicit is None:
            return Place(place.host, place.port + 1) if place.port < MAX_PORT else None
        port, connection = explicit
        if not port or (connection is not None and connection.unspecified):
            return None
        return Place(place.host if connection is None else connection.host, port)

    def held(self, media: Media) -> bool:
        """Whether no media can be expected either way: rejected, inactive, or the null address."""
        connection = self.connection(media)
        null = connection is not None and connection.unspecified
        return not media.port or null or self.direction(media) == INACTIVE


def parse(body: bytes) -> Session:
    """Read a description.

    Raises `ParseError` (400) when it does not begin with `v=`, when an `m=`, `c=` or `a=rtcp` line that the relay
    must understand is malformed, and when it exceeds a limit of this module. Everything else is kept, not judged.
    """
    if len(body) > MAX_BODY:
        raise ParseError(b"SDP: too long")
    if not body.startswith(b"v="):
        raise ParseError(b"SDP: no v= line")
    lines = [line + b"\n" for line in body.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    if not lines[-1]:
        lines.pop()
    starts = [index for index, line in enumerate(lines) if line[:2] == b"m="]
    if len(starts) > MAX_MEDIA:
        raise ParseError(b"SDP: too many m= lines")
    if sum(line[:2] == b"a=" for line in lines) > MAX_ATTRIBUTES:
        raise ParseError(b"SDP: too many a= lines")
    head = Section(lines[: starts[0]] if starts else lines)
    media = [Media(lines[start:stop]) for start, stop in zip(starts, [*starts, len(lines)][1:], strict=True)]
    session = Session(head, media)
    for description in media:
        session.rtcp_place(description)
        session.held(description)
    return session


def line_end(line: bytes) -> bytes:
    """The line end of a line: CRLF, LF, or nothing on an unfinished last line."""
    return line[len(line.rstrip(b"\r\n")) :]


def _name(line: bytes) -> bytes:
    return line[2:].rstrip(b"\r\n").partition(b":")[0].strip().lower()


def _text(word: bytes) -> str:
    try:
        return word.decode("ascii")
    except UnicodeDecodeError:
        raise ParseError(b"SDP: an address that is not ASCII") from None


def _short(word: bytes) -> bool:
    """Whether the word is a payload type number."""
    return word.isdigit() and len(word) <= 3


def _port(word: bytes) -> int:
    if not word.isdigit() or len(word) > 5 or int(word) > MAX_PORT:
        raise ParseError(b"SDP: malformed port")
    return int(word)
