"""The header lines of a message: reading them, editing them, their typed values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Self

from sbc.sip import limits
from sbc.sip.errors import LocalError, ParseError
from sbc.sip.names import WRITTEN, written
from sbc.sip.scan import BLANK, COMMA, CR, LF, QUOTE, is_token, number, split_commas, unfold
from sbc.sip.values import CSeq, NameAddr, Via

#: Headers whose first line goes on top when a message has none of them yet.
_ON_TOP: Final = frozenset((b"via", b"route", b"record-route"))


class Message:
    """What requests and responses share. Header names are canonical: the lower-case long form, `b"call-id"`.

    `body` may be set; Content-Length follows when the message is rendered. Typed properties raise ParseError when
    the value is malformed or, unless they say otherwise, missing; they are cached until that header is edited, and
    what they return is not to be changed in place.
    """

    __slots__ = ("_firsts", "_lines", "_names", "_typed", "body", "declared")

    def __init__(self, names: list[bytes], lines: list[bytes], body: bytes) -> None:
        """`lines` are header lines without their line ends, `names` their canonical names, one for one."""
        self._names = names
        self._lines = lines
        self._typed: dict[bytes, Any] = {}
        self._firsts: dict[bytes, bytes] = {}  # what `first` has answered
        #: What the Content-Length line says; -1 for "look at it". The parser's and the renderer's own.
        self.declared = -1
        self.body = body

    # Reading

    def first(self, name: bytes) -> bytes | None:
        """The value of the first line of that name, folding undone, blanks trimmed; None without one."""
        known = self._firsts.get(name)
        if known is not None:
            return known
        try:
            at = self._names.index(name)
        except ValueError:
            return None
        value = self._lines[at].partition(b":")[2]
        value = self._firsts[name] = (unfold(value) if CR in value else value).strip(BLANK)
        return value

    def lines(self, name: bytes) -> list[bytes]:
        """The values of all lines of that name in order."""
        count = self._names.count(name)
        if count < 2:
            return [self.first(name) or b""] if count else []
        found = []
        at = -1
        for _ in range(count):
            at = self._names.index(name, at + 1)
            value = self._lines[at].partition(b":")[2]
            found.append((unfold(value) if CR in value else value).strip(BLANK))
        return found

    def each(self, name: bytes) -> list[bytes]:
        """All members of the comma separated lists in those lines. Not for headers whose values hold commas themselves
        (Date, WWW-Authenticate, Authorization …)."""
        return [member for value in self.lines(name) for member in split_commas(value)]

    def has(self, name: bytes) -> bool:
        """True when there is a line of that name."""
        return name in self._names

    def count(self, name: bytes) -> int:
        """How many lines of that name there are."""
        return self._names.count(name)

    def names(self) -> list[bytes]:
        """The canonical names of all lines in order."""
        return list(self._names)

    def longest(self) -> int:
        """Bytes of the longest header line."""
        return max(map(len, self._lines), default=0)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """(canonical name, whole line byte for byte) of all lines in order."""
        return zip(self._names, self._lines, strict=True)

    # Editing

    def set(self, name: bytes, value: bytes) -> None:
        """Make this the only line of that name: in place of the first, else at the end."""
        names = self._names
        try:
            at = names.index(name)
        except ValueError:
            self._insert(len(names), name, value)
            return
        self._put(at, name, value)
        if names.count(name) > 1:
            self._delete(name, at + 1)

    def replace(self, name: bytes, values: Iterable[bytes]) -> None:
        """Make these the lines of that name, at the place of the first; else on top for Via, Route and Record-Route,
        and at the end for all others."""
        names = self._names
        at = names.index(name) if name in names else 0 if name in _ON_TOP else len(names)
        self._delete(name, 0)
        for offset, value in enumerate(values):
            self._insert(at + offset, name, value)

    def add(self, name: bytes, value: bytes) -> None:
        """A line more behind the last of that name, else at the end."""
        names = self._names
        at = len(names)
        if name in names:
            while names[at - 1] != name:
                at -= 1
        self._insert(at, name, value)

    def push(self, name: bytes, value: bytes) -> None:
        """A line more before the first of that name, else on top."""
        names = self._names
        self._insert(names.index(name) if name in names else 0, name, value)

    def remove(self, *unwanted: bytes) -> None:
        """Drop all lines of these names."""
        for name in unwanted:
            if name in self._names:
                self._delete(name, 0)

    def pop_top(self, name: bytes) -> bytes | None:
        """Take the first member of the first line away, in a list the others stay; None when there is none."""
        try:
            at = self._names.index(name)
        except ValueError:
            return None
        value = self._lines[at].partition(b":")[2]
        value = (unfold(value) if CR in value else value).strip(BLANK)
        if COMMA in value:
            members = split_commas(value)
            if len(members) > 1:
                self._put(at, name, b", ".join(members[1:]))
                return members[0]
        del self._names[at], self._lines[at]
        self._forget(name)
        return value

    def set_top(self, name: bytes, value: bytes, typed: Any = None) -> None:
        """Put another first member in place of the present one, the others of its line stay.

        `typed`: what the property of that name is to give from now on, for whoever knows it already.
        """
        present = self.first(name)
        if present is None:
            self.push(name, value)
        else:
            if COMMA in present:
                value = b", ".join([value, *split_commas(present)[1:]])
            self._put(self._names.index(name), name, value)
        if typed is not None:
            self._typed[name] = typed

    def copy(self) -> Self:
        """An independent message with the same lines and body."""
        twin = self._twin(self._names[:], self._lines[:])
        twin._typed = self._typed.copy()
        twin._firsts = self._firsts.copy()
        twin.declared = self.declared
        return twin

    def edited(self, changes: Mapping[bytes, Sequence[bytes]]) -> Self:
        """A copy in which each name of `changes` has these lines, or none: as if `replace` had been called for each,
        in one go over the lines. Not for Content-Length, which follows the body."""
        names: list[bytes] = []
        lines: list[bytes] = []
        placed = set()
        for name, line in zip(self._names, self._lines, strict=True):
            if name not in changes:
                names.append(name)
                lines.append(line)
            elif name not in placed and (values := changes[name]):
                placed.add(name)
                for value in values:
                    names.append(name)
                    lines.append(header_line(name, value))
        for name, values in changes.items():
            if values and name not in placed:
                at = 0 if name in _ON_TOP else len(names)
                names[at:at] = [name] * len(values)
                lines[at:at] = [header_line(name, value) for value in values]
        twin = self._twin(names, lines)
        twin.declared = self.declared
        return twin

    def _twin(self, names: list[bytes], lines: list[bytes]) -> Self:
        """A message with these lines and otherwise ours."""
        raise NotImplementedError

    def render(self) -> bytes:
        """The whole message as it goes on the wire, Content-Length right."""
        body = self.body
        if self.declared != len(body):
            self._declare(len(body))
        return b"%b\r\n%b\r\n\r\n%b" % (self.start_line(), b"\r\n".join(self._lines), body)

    def start_line(self) -> bytes:
        """Request or status line without its line end."""
        raise NotImplementedError

    # Typed values

    @property
    def via(self) -> Via:
        """The top Via."""
        typed = self._typed
        if b"via" in typed:
            via: Via = typed[b"via"]
            return via
        value = self._need(b"via")
        via = typed[b"via"] = Via.parse(split_commas(value)[0] if COMMA in value else value)
        return via

    @property
    def branch(self) -> bytes:
        """The branch of the top Via, empty when it has none. Cheaper than `via` when nothing else of it is asked."""
        value = self.first(b"via")
        if value is None or b"via" in self._typed or QUOTE in value or COMMA in value:
            return self.via.branch
        branch = value.partition(b";branch=")[2].partition(b";")[0]
        return branch if branch.isalnum() or is_token(branch) else self.via.branch

    @property
    def vias(self) -> list[Via]:
        """All Vias, the top one first; empty without any."""
        values = self.each(b"via")
        return [self.via, *map(Via.parse, values[1:])] if values else []

    @property
    def cseq(self) -> CSeq:
        """CSeq."""
        typed = self._typed
        if b"cseq" in typed:
            known: CSeq = typed[b"cseq"]
            return known
        cseq = typed[b"cseq"] = CSeq.parse(self._need(b"cseq"))
        return cseq

    @property
    def call_id(self) -> bytes:
        """Call-ID."""
        return self._firsts.get(b"call-id") or self._need(b"call-id")

    @property
    def from_(self) -> NameAddr:
        """From."""
        return self._address(b"from")

    @property
    def to(self) -> NameAddr:
        """To."""
        return self._address(b"to")

    @property
    def from_tag(self) -> bytes | None:
        """The tag of From; None without one."""
        return self._tag(b"from")

    @property
    def to_tag(self) -> bytes | None:
        """The tag of To; None without one."""
        return self._tag(b"to")

    @property
    def star_contact(self) -> bool:
        """True for `Contact: *` alone, which takes every binding away (RFC 3261 section 10.2.2)."""
        value = self.first(b"contact")
        if value is None or (b"*" not in value and self._names.count(b"contact") == 1):
            return False
        return self.each(b"contact") == [b"*"]

    @property
    def contacts(self) -> list[NameAddr]:
        """All contacts; empty without any and for `*` alone. Cached: read only."""
        return self._addresses(b"contact")

    @property
    def routes(self) -> list[NameAddr]:
        """Route, the next one first. Cached: read only."""
        return self._addresses(b"route")

    @property
    def record_routes(self) -> list[NameAddr]:
        """Record-Route, the latest first. Cached: read only."""
        return self._addresses(b"record-route")

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards, 0 … 255; None without one."""
        return self._number(b"max-forwards", 256, b"Max-Forwards")

    @property
    def expires(self) -> int | None:
        """Expires in seconds; None without one."""
        return self._number(b"expires", limits.SECONDS_END, b"Expires")

    # Inside

    def _need(self, name: bytes) -> bytes:
        value = self.first(name)
        if not value:
            raise ParseError(b"Missing " + written(name))
        return value

    def _number(self, name: bytes, end: int, what: bytes) -> int | None:
        typed = self._typed
        if name in typed:
            known: int = typed[name]
            return known
        value = self.first(name)
        if value is None:
            return None
        result = typed[name] = number(value, end, what)
        return result

    def _address(self, name: bytes) -> NameAddr:
        typed = self._typed
        if name in typed:
            known: NameAddr = typed[name]
            return known
        address = typed[name] = NameAddr.parse(self._need(name))
        return address

    def _addresses(self, name: bytes) -> list[NameAddr]:
        typed = self._typed
        if name in typed:
            known: list[NameAddr] = typed[name]
            return known
        values = self.each(name) if self._names.count(name) > 1 else split_commas(self.first(name) or b"")
        addresses = [] if values == [b"*"] else [NameAddr.parse(value) for value in values]
        typed[name] = addresses
        return addresses

    def _tag(self, name: bytes) -> bytes | None:
        value = self._firsts.get(name) or self._need(name)
        return _remembered_tag(value) if len(value) <= limits.MAX_REMEMBERED_VALUE else _tag_of(value)

    def _insert(self, at: int, name: bytes, value: bytes) -> None:
        self._lines.insert(at, header_line(name, value))
        self._names.insert(at, name)
        self._forget(name)

    def _put(self, at: int, name: bytes, value: bytes) -> None:
        self._lines[at] = header_line(name, value)
        self._forget(name)

    def _delete(self, name: bytes, start: int) -> None:
        names, lines = self._names, self._lines
        for at in range(len(names) - 1, start - 1, -1):
            if names[at] == name:
                del names[at], lines[at]
        self._forget(name)

    def _forget(self, name: bytes) -> None:
        self._typed.pop(name, None)
        self._firsts.pop(name, None)
        if name == b"content-length":
            self.declared = -1

    def _declare(self, length: int) -> None:
        """Make Content-Length say `length`; a line that says so already stays as it is."""
        if self._names.count(b"content-length") != 1 or self.first(b"content-length") != b"%d" % length:
            self.set(b"content-length", b"%d" % length)
        self.declared = length


def header_line(name: bytes, value: bytes) -> bytes:
    """A header line of ours. A value with a line end is a mistake on our side: it would be a header of its own."""
    if LF in value or CR in value:
        raise LocalError(f"line end in {name!r}: {value!r}")
    return (WRITTEN.get(name) or written(name)) + b": " + value


def _tag_of(value: bytes) -> bytes | None:
    """The tag of a From or To value, without reading all of the usual ones."""
    closed = value.rfind(b">")
    at = value.find(b";tag=", closed + 1)
    if at > 0 and value.find(b'"', closed + 1) < 0:
        return value[at + 5 :].partition(b";")[0].strip(BLANK)
    if closed == len(value) - 1 and value.count(b">") == 1:
        return None
    return NameAddr.parse(value).tag


_remembered_tag = lru_cache(limits.MAX_REMEMBERED)(_tag_of)
