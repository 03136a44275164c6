"""Dialogs that bodies name: `application/dialog-info+xml` (RFC 4235), by which lamps show who talks and calls are
picked up. Pure.

Its receiver may put what it reads there into a Replaces (RFC 3891, "directed pick-up") or look for its own calls in it:
so each dialog is named as the receiver knows it, and a target that is a Contact of one side becomes one of ours, as
`references.py` does with headers. All other bytes stay as they came; so does a whole body that is not understood.
Bodies of type `message/sipfrag` name no dialogs by themselves, and pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.parsers import expat

from sbc.proxy.dialog import Dialogs, Named, Side
from sbc.proxy.references import known_as, preferred, shown_uri
from sbc.sip.errors import ParseError
from sbc.sip.message import Request
from sbc.sip.uri import Uri

TYPE = b"application/dialog-info+xml"

MAX_ELEMENTS = 2_000
"""Elements of one body: eight for each of 250 dialogs, more than a datagram carries."""

MAX_DEPTH = 16
"""Elements inside one another; RFC 4235 has five."""

# A name is looked at from its first byte alone: from each of them, a long one would take the square of its length.
_ATTRIBUTE = re.compile(rb"""(?<![^\s=<>"'/])([^\s=<>"'/]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")

_ESCAPED = ((b"&", b"&amp;"), (b"<", b"&lt;"), (b'"', b"&quot;"), (b"'", b"&apos;"))


class _NotUnderstoodError(Exception):
    """The body passes as it is."""


def as_known(request: Request, body: bytes, dialogs: Dialogs, receiver: Side) -> bytes:
    """The body of a request as `receiver` can use it; `body` itself where nothing in it changes."""
    if not body or (request.first(b"content-type") or b"").partition(b";")[0].strip().lower() != TYPE:
        return body
    try:
        edits = _Reader(body, dialogs, receiver).read()
    except (_NotUnderstoodError, expat.ExpatError, LookupError, ValueError):
        return body
    for start, end, value in reversed(edits):
        body = body[:start] + value + body[end:]
    return body


class _Reader:
    """Finds what changes in one body: places and values in their order."""

    def __init__(self, body: bytes, dialogs: Dialogs, receiver: Side) -> None:
        self._body = body
        self._dialogs = dialogs
        self._receiver = receiver
        self._path: list[str] = []
        self._elements = 0
        self._named: Named | None = None
        self._edits: list[tuple[int, int, bytes]] = []
        self._parser = parser = expat.ParserCreate(namespace_separator=" ")
        # Neither entities nor anything from elsewhere: a document type is not understood.
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.ExternalEntityRefHandler = self._refuse
        parser.XmlDeclHandler = self._declared
        parser.StartElementHandler = self._started
        parser.EndElementHandler = self._ended

    def read(self) -> list[tuple[int, int, bytes]]:
        if not self._body.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
            raise _NotUnderstoodError  # other encodings than those whose offsets are bytes of the text
        self._parser.Parse(self._body, True)
        return self._edits

    def _refuse(self, *_: object) -> int:
        raise _NotUnderstoodError

    def _declared(self, version: str, encoding: str | None, standalone: int) -> None:
        if (encoding or "utf-8").lower() not in ("utf-8", "us-ascii"):
            raise _NotUnderstoodError

    def _started(self, name: str, attributes: Mapping[str, str]) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS or len(self._path) >= MAX_DEPTH:
            raise _NotUnderstoodError
        word = name.rpartition(" ")[2]
        self._path.append(word)
        if word in ("dialog", "replaces"):
            named = self._find(attributes)
            if word == "dialog":
                self._named = named
            if named is not None:
                self._change("call-id", attributes, known_as(named, self._receiver))
        elif word == "target" and self._named is not None and len(self._path) > 1:
            self._target(self._path[-2], self._named, attributes)

    def _ended(self, name: str) -> None:
        if self._path.pop() == "dialog":
            self._named = None

    def _find(self, attributes: Mapping[str, str]) -> Named | None:
        """The dialog that these attributes name: its notifier is its `end`. One that is only tried has one tag yet."""
        call_id, local, remote = (attributes.get(each, "").encode() for each in ("call-id", "local-tag", "remote-tag"))
        found = self._dialogs.named(call_id, local, remote)
        if not found and local and not remote:
            legs = self._dialogs.call_ids(call_id)
            found = [Named(leg, leg.a, leg.b) for leg in legs if leg.tag == local]
            found += [Named(leg, leg.dialogs[local].b, leg.a) for leg in legs if local in leg.dialogs]
        return preferred(found, None, self._receiver) if found else None

    def _target(self, whose: str, named: Named, attributes: Mapping[str, str]) -> None:
        """The Contact of one of the two parties."""
        if whose not in ("local", "remote"):
            return
        about = named if whose == "local" else Named(named.leg, named.far, named.end)
        try:
            shown = shown_uri(Uri.parse(attributes.get("uri", "").encode()), about, self._receiver)
        except ParseError:
            return
        if shown is not None:
            self._change("uri", attributes, shown.render())

    def _change(self, name: str, attributes: Mapping[str, str], value: bytes) -> None:
        """This attribute of the element that begins here gets another value."""
        text = value.decode("ascii", "replace")
        if name not in attributes or attributes[name] == text or not (text.isascii() and text.isprintable()):
            return
        begin = self._parser.CurrentByteIndex
        for found in _ATTRIBUTE.finditer(self._body, begin, _tag_end(self._body, begin)):
            if found[1] == name.encode():
                at = 2 if found[2] is not None else 3
                self._edits.append((found.start(at), found.end(at), _escaped(value)))
                return


def _tag_end(body: bytes, begin: int) -> int:
    """Where the start tag ends that begins here."""
    at, quote = begin, b""
    while at < len(body):
        here = body[at : at + 1]
        if quote:
            quote = b"" if here == quote else quote
        elif here in (b'"', b"'"):
            quote = here
        elif here == b">":
            return at
        at += 1
    raise _NotUnderstoodError


def _escaped(value: bytes) -> bytes:
    for raw, escaped in _ESCAPED:
        value = value.replace(raw, escaped)
    return value
