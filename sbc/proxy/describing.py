"""Session descriptions on their way through: which are offers and which are answers (RFC 3264, 6337)."""

from __future__ import annotations

from typing import Literal

from twisted.internet.defer import Deferred, succeed

from sbc.media.calls import MediaCalls
from sbc.media.direct import Party
from sbc.proxy.dialog import Leg, Side
from sbc.sip.errors import RemoteError
from sbc.sip.message import Message, Request
from sbc.sip.uri import Uri
from sbc.transport.flow import Flow

WEB = (b"WS", b"WSS")
"""Transports by which browsers come."""


def described(
    media: MediaCalls,
    leg: Leg,
    side: Literal["a", "b"],
    message: Message,
    came: Flow,
    goes: Flow,
    asked: Request | None = None,
) -> Deferred[bytes]:
    """The body of a message of this leg as the other side is to see it. `asked`: the request that a response answers.

    A body without a session description passes. Whether one is an offer or an answer hangs on the message alone and not
    on what came before: the dialogs of a forked request share a leg, and each is at a point of its own.
    """
    content_type = message.first(b"content-type")
    key = leg.token.decode()
    if not media.describes(message.body, content_type):
        return succeed(message.body)
    offered = asked is not None and media.describes(asked.body, asked.first(b"content-type"))
    if answers(message, asked, offered=offered, due=leg.offer not in ("", side)):
        if isinstance(message, Request):
            leg.offer = ""
        return media.answer(key, message.body, source=came.peer[0], from_=side, content_type=content_type)
    if asked is not None:
        leg.offer = side
    sender, receiver = (leg.a, leg.b) if side == "a" else (leg.b, leg.a)
    return media.offer(
        key,
        message.body,
        source=came.peer[0],
        toward=goes.listener.advertise_host,
        back=came.listener.advertise_host,
        from_=side,
        content_type=content_type,
        toward_web=goes.transport in WEB,
        toward_upper=receiver.upper is not None,
        parties=(_party(sender, came), _party(receiver, goes)),
    )


def _party(side: Side, flow: Flow) -> Party:
    """What is known of where a side of a leg is."""
    shown = flow.listener.advertise_host.decode("latin-1")
    server, web = side.upper is not None, flow.transport in WEB
    return Party(flow.peer[0], _stated(side, flow), shown, server=server, web=web, translated=flow.translated)


def _stated(side: Side, flow: Flow) -> str:
    """The host in its Contact; none when a UDP phone is, by its port, not where its packets come from."""
    try:
        uri = Uri.parse(side.target)
        elsewhere = flow.transport == b"UDP" and (uri.port or 5060) != flow.peer[1]
        return "" if elsewhere else uri.address
    except RemoteError:
        return ""


def answers(message: Message, asked: Request | None, *, offered: bool, due: bool) -> bool:
    """Whether the description in this message is an answer (RFC 6337 §2.1, table 1).

    An INVITE and an UPDATE offer; a response answers what its request (`asked`) `offered`, and offers where an INVITE
    did not; an ACK answers. A PRACK answers the offer of the response that it acknowledges, if one is `due`, and offers
    else.
    """
    if asked is not None:
        return asked.method != b"INVITE" or offered
    method = message.method if isinstance(message, Request) else b""
    return method == b"ACK" or (method not in (b"INVITE", b"UPDATE") and due)
