"""RFC 5626 and RFC 3327 at the registrar: whose flow leads to a phone, and what its REGISTER may count on. Pure."""

from __future__ import annotations

from enum import Enum

from sbc.sip.errors import RemoteError
from sbc.sip.message import Request
from sbc.sip.values import NameAddr

UDP_FLOW_TIMER = 25.0
"""Seconds between two keep-alives over UDP at most: NATs forget a silent one after thirty, many of them."""

UNDERSTOOD = frozenset((b"path", b"outbound"))
"""Option tags that a REGISTER may require of us: the upper server is not asked for them."""


class Outbound(Enum):
    """What becomes of a phone's wish for outbound (RFC 5626 §6)."""

    NONE = "none"
    DIRECT = "direct"
    """Requests come over the flow of its REGISTER."""
    THROUGH = "through"
    """They come through the proxy whose flow it is; its Path says so."""


def outbound(request: Request, *, strict: bool) -> Outbound:
    """What is promised for a REGISTER.

    Raises RemoteError 439 where a proxy stands between that does not keep flows; with `strict` False the phone is
    registered without outbound then.
    """
    if b"outbound" not in _options(request, b"supported") or request.star_contact:
        return Outbound.NONE
    if not any(b"reg-id" in each.params and b"+sip.instance" in each.params for each in request.contacts):
        return Outbound.NONE
    if len(request.vias) == 1:
        return Outbound.DIRECT
    paths = path_of(request)
    if paths and b"ob" in NameAddr.parse(paths[-1]).uri.params:
        return Outbound.THROUGH
    if strict:
        raise RemoteError(439, b"First Hop Lacks Outbound Support")
    return Outbound.NONE


def path_of(request: Request) -> tuple[bytes, ...]:
    """The Path values of a REGISTER, the proxy nearest to us first. Raises ParseError 400 for what is no address."""
    values = tuple(request.each(b"path"))
    for value in values:
        NameAddr.parse(value)
    return values


def understands_path(request: Request) -> bool:
    """Whether the phone wants to hear of the Path that its requests take (RFC 3327 §5.1)."""
    return b"path" in _options(request, b"supported")


def flow_timer(seconds: float, *, reliable: bool) -> int:
    """The Flow-Timer of a 2xx (RFC 5626 §5.4): in which time the phone must be heard again; 0: none is said."""
    return int(seconds if reliable else min(seconds, UDP_FLOW_TIMER))


def _options(request: Request, name: bytes) -> set[bytes]:
    return {each.strip().lower() for each in request.each(name)}
