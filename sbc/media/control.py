"""What the signalling process and a media process say to each other: frames of JSON on a stream.  [pure]

A request has a number, and its reply the same; events have none. Descriptions and keys of legs are text; bytes that are
no ASCII pass as Latin-1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from sbc.media import sdp
from sbc.media.engine import Answer, Direction, Offer, Side, Statistics, StreamStatistics
from sbc.media.settings import MediaSettings
from sbc.settings import Ports

#: Changes when the two sides would not understand each other.
VERSION = 2
#: The socket's name in the state directory.
SOCKET = "media.sock"
#: The descriptor under which a media process finds the memory for its `Book` of indexes.
MEMORY = 3
#: Bytes of a frame: a description has 64 KiB at most, and JSON may write six characters for one.
MAX_FRAME = 512 * 1024
#: Bytes that may wait to be sent before the other side counts as dead.
MAX_WAITING = 16 * 1024 * 1024

_LENGTH = 4

#: A request, a reply or an event.
Message = dict[str, Any]


class Frames:
    """Cuts what arrives into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are whole now. Raises `ValueError` for what is none: then nothing more can be read."""
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= _LENGTH:
                size = int.from_bytes(buffer[start : start + _LENGTH], "big")
                if size > MAX_FRAME:
                    raise ValueError("a frame is too long")
                if len(buffer) - start - _LENGTH < size:
                    return
                frame = bytes(buffer[start + _LENGTH : start + _LENGTH + size])
                start += _LENGTH + size
                message = json.loads(frame)
                if not isinstance(message, dict):
                    raise ValueError("a frame holds no message")
                yield message
        finally:
            del buffer[:start]


def frame(message: Message) -> bytes:
    """The bytes of a message. Raises `ValueError` when it is too long."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    if len(body) > MAX_FRAME:
        raise ValueError("a message is too long")
    return len(body).to_bytes(_LENGTH, "big") + body


def from_offer(offer: Offer) -> Message:
    """The fields of a request that carry it."""
    return {
        "sdp": _text(offer.session),
        "from": offer.from_,
        "source": offer.source,
        "back": offer.back,
        "toward": offer.toward,
        "wanted": offer.wanted,
    }


def to_offer(fields: Mapping[str, Any]) -> Offer:
    """Raises `KeyError`, `TypeError`, `ValueError` or `RemoteError` for what is none."""
    session = sdp.parse(fields["sdp"].encode("latin-1"))
    return Offer(session, _side(fields), *(str(fields[name]) for name in ("source", "back", "toward", "wanted")))


def description(reply: Message) -> bytes:
    """The description in the reply to an offer or an answer."""
    return str(reply["sdp"]).encode("latin-1")


def from_answer(answer: Answer) -> Message:
    """The fields of a request that carry it."""
    return {"sdp": _text(answer.session), "from": answer.from_, "source": answer.source}


def to_answer(fields: Mapping[str, Any]) -> Answer:
    """Raises as `to_offer` does."""
    return Answer(sdp.parse(fields["sdp"].encode("latin-1")), _side(fields), str(fields["source"]))


def from_statistics(statistics: Statistics) -> list[Message]:
    """A list of streams."""
    return [asdict(stream) for stream in statistics.streams]


def to_statistics(streams: list[Message]) -> Statistics:
    """Raises `TypeError` or `KeyError` for what is none."""
    return Statistics(
        tuple(
            StreamStatistics(each["index"], each["kind"], Direction(**each["from_a"]), Direction(**each["from_b"]))
            for each in streams
        )
    )


def from_settings(settings: MediaSettings) -> Message:
    """All settings of a relay by name."""
    return {**asdict(settings), "direct": []}  # whether anything is relayed at all is not decided there


def to_settings(fields: Mapping[str, Any]) -> MediaSettings:
    """Raises `TypeError` or `KeyError` for what is none."""
    return MediaSettings(**{**fields, "ports": Ports(*fields["ports"]), "direct": ()})


def _text(session: sdp.Session) -> str:
    return session.render().decode("latin-1")


def _side(fields: Mapping[str, Any]) -> Side:
    return "a" if fields["from"] == "a" else "b"
