"""A phone's REGISTER as an upper server gets to see it: pure."""

from __future__ import annotations

from collections.abc import Sequence

from sbc.registrar.outbound import UNDERSTOOD
from sbc.sip.message import Request
from sbc.sip.values import NameAddr

_BETWEEN: dict[bytes, Sequence[bytes]] = dict.fromkeys((b"route", b"record-route", b"path"), ())
"""Headers between the phone and us."""

OUTBOUND = (b"+sip.instance", b"reg-id")
"""Contact parameters of RFC 5626 and 5627 that pass where a device is a Contact of its own at the upper server."""


def upward(
    bare: Request,
    *,
    via: bytes,
    domain: bytes,
    ours: frozenset[bytes],
    contacts: Sequence[bytes],
    expires: int,
    path: bytes | None,
) -> Request:
    """The REGISTER without what concerns the phone and us alone.

    `contacts`: our Contact values, none where the phone only asks; `expires` in seconds; `path`: our Path URI (RFC
    3327) or None. A From, To or Request-URI that names us names the `domain`.
    """
    hops = bare.max_forwards
    changes: dict[bytes, Sequence[bytes]] = {
        **_BETWEEN,
        b"via": (via,),
        b"max-forwards": (b"%d" % ((70 if hops is None else hops) - 1),),
    }
    for name, address in ((b"from", bare.from_), (b"to", bare.to)):
        if address.uri.host.lower() in ours:
            shown = address.replace(uri=address.uri.replace(host=domain, port=None))
            changes[name] = (shown.render(),)
    if contacts:
        changes[b"contact"] = contacts
        changes[b"expires"] = (b"%d" % expires,)
    if bare.has(b"require"):
        changes[b"require"] = [each for each in bare.each(b"require") if each.strip().lower() not in UNDERSTOOD]
    up = bare.edited(changes)
    if up.parsed_uri.host.lower() != domain:
        up.uri = b"sip:" + domain
    if path is not None:
        up.add(b"path", b"<%s>" % path)
        if b"path" not in {each.strip().lower() for each in up.each(b"supported")}:
            up.add(b"supported", b"path")
    return up


def device_params(shown: NameAddr) -> bytes:
    """The Contact parameters that name the device itself, to be put behind our URI."""
    kept = ((name, shown.params[name]) for name in OUTBOUND if name in shown.params)
    return b"".join(b";%s=%s" % (name, value) for name, value in kept if value is not None)
