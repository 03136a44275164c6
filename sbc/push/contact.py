"""The parameters of Contact values, with their places, so that some can be cut out and the rest stays as it came.
[pure]

A parameter is read both inside ``<…>`` (URI parameter) and behind it (header parameter), in raw bytes: quoting,
commas and ``;`` in the user part are respected, nothing else is interpreted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

REMEMBERED = 256
"""Lines remembered: those of the REGISTERs just now, each read four times (twice, and again after the challenge)."""

REMEMBERED_BYTES = 1_024
"""Bytes of a line that is remembered."""

_BLANKS = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: ``contact`` counts the comma-separated values; ``value`` is ``None`` without ``=``.

    ``start:end`` are its bytes in the line, the leading ``;`` and the blanks around it included.
    """

    contact: int
    in_uri: bool
    name: str
    value: str | None
    start: int
    end: int


def parameters(line: bytes) -> Sequence[Parameter]:
    """All parameters of one Contact header value (a comma list), in order. Never fails; garbage yields what it
    yields.
    """
    return _remembered(line) if len(line) <= REMEMBERED_BYTES else _taken_apart(line)


def _taken_apart(line: bytes) -> tuple[Parameter, ...]:
    found: list[Parameter] = []
    at, contact, size = 0, 0, len(line)
    while at < size:
        at = _one(line, at, contact, found)
        contact += 1
    return tuple(found)


_remembered = lru_cache(REMEMBERED)(_taken_apart)


def _one(line: bytes, at: int, contact: int, found: list[Parameter]) -> int:
    """Read the value that starts at *at*; return where the next one starts."""
    size = len(line)
    opening = _find(line, at, b"<,;")
    if opening < size and line[opening] == 0x3C:
        closing = line.find(b">", opening)
        if closing < 0:
            return size
        _uri(line, opening + 1, closing, contact, found)
        at = closing + 1
    while at < size:
        at = _find(line, at, b",;")
        if at >= size:
            return size
        if line[at] == 0x2C:
            return at + 1
        end = _find(line, at + 1, b",;")
        _add(line, at, end, contact, False, found)
        at = end
    return size


def _uri(line: bytes, start: int, end: int, contact: int, found: list[Parameter]) -> None:
    """Parameters of the URI in ``line[start:end]``."""
    headers = line.find(b"?", start, end)
    # A question mark may stand in the user part; URI headers only begin behind the parameters.
    user = line.find(b"@", start, end)
    if headers >= 0 and user >= 0 and headers < user:
        headers = line.find(b"?", user, end)
    stop = end if headers < 0 else headers
    at = line.find(b";", user if 0 <= user < stop else start, stop)
    while at >= 0:
        following = line.find(b";", at + 1, stop)
        _add(line, at, stop if following < 0 else following, contact, True, found)
        at = following


def _add(line: bytes, start: int, end: int, contact: int, in_uri: bool, found: list[Parameter]) -> None:
    name, equals, value = line[start + 1 : end].partition(b"=")
    text = value.strip(_BLANKS).decode("utf-8", "replace") if equals else None
    if text is not None and len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    found.append(Parameter(contact, in_uri, name.strip(_BLANKS).decode("ascii", "replace").lower(), text, start, end))


def _find(line: bytes, at: int, stops: bytes) -> int:
    """Index of the first byte of *stops* outside quotes from *at*, or the length of *line*."""
    size = len(line)
    while at < size:
        byte = line[at]
        if byte == 0x22:
            at += 1
            while at < size and line[at] != 0x22:
                at += 2 if line[at] == 0x5C else 1
        elif byte in stops:
            return at
        at += 1
    return size


def without(line: bytes, cut: list[Parameter]) -> bytes:
    """*line* with the parameters of *cut* taken out, all other bytes as they were."""
    pieces: list[bytes] = []
    at = 0
    for parameter in cut:
        pieces.append(line[at : parameter.start])
        at = parameter.end
    pieces.append(line[at:])
    return b"".join(pieces)
