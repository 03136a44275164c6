"""Session descriptions on their way through: which are offers and which are answers (RFC 3264, 6337)."""

from __future__ import annotations

from typing import Literal

from twisted.internet.defer import Deferred, succeed

from sbc.media.calls import MediaCalls
from sbc.proxy.dialog import Leg
from sbc.sip.message import Message, Request
from sbc.transport.flow import Flow


def described(
    media: MediaCalls, leg: Leg, side: Literal["a", "b"], message: Message, came: Flow, goes: Flow, *, final: bool
) -> Deferred[bytes]:
    """The body of a message of this leg as the other side is to see it.

    A body without a session description passes. One with it is the answer to the offer that the other side has
    open, else an offer (RFC 3264). `final`: nothing more will answer that offer (a 2xx, an ACK or PRACK; not a
    18x).
    """
    content_type = message.first(b"content-type")
    key = leg.token.decode()
    if not media.describes(message.body, content_type):
        return succeed(message.body)
    if _is_ack(message) or (leg.offer and leg.offer != side):
        if final:
            leg.offer = ""
        return media.answer(key, message.body, source=came.peer[0], from_=side, content_type=content_type)
    leg.offer = side
    return media.offer(
        key,
        message.body,
        source=came.peer[0],
        toward=goes.listener.advertise_host,
        back=came.listener.advertise_host,
        from_=side,
        content_type=content_type,
        toward_web=goes.transport in (b"WS", b"WSS"),
        toward_upper=(leg.b if side == "a" else leg.a).upper is not None,
    )


def _is_ack(message: Message) -> bool:
    """Whether this is an ACK: its body is an answer, also when it comes again (RFC 3264 §4 with RFC 3261 §13.2.1)."""
    return isinstance(message, Request) and message.method == b"ACK"
