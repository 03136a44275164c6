"""How the SBC shows itself on a flow: the Via and the Contact that the peer sees. Pure."""

from __future__ import annotations

from sbc.transport.flow import Listener


def via(listener: Listener, branch: bytes) -> bytes:
    """The value of our Via on this listener, asking for the response's true source (RFC 3581)."""
    return b"SIP/2.0/%s %s;branch=%s;rport" % (listener.transport, listener.uri_host, branch)


def contact(listener: Listener, user: bytes, *, secure: bool = False) -> bytes:
    """A Contact URI of ours on this listener; `secure`: sips where the listener is, for requests to a sips URI, which
    must have one (RFC 3261 §8.1.1.8, 12.1.1)."""
    if secure and listener.secure:
        return b"sips:%s@%s%s" % (user, listener.uri_host, b";transport=ws" if listener.transport == b"WSS" else b"")
    return b"sip:%s@%s%s" % (user, listener.uri_host, _PARAM[listener.transport])


def path(listener: Listener) -> bytes:
    """Our Path URI on this listener (RFC 3327)."""
    return b"sip:%s%s;lr" % (listener.uri_host, _PARAM[listener.transport])


_PARAM = {
    b"UDP": b"",
    b"TCP": b";transport=tcp",
    b"TLS": b";transport=tls",
    b"WS": b";transport=ws",
    b"WSS": b";transport=wss",
}
"""URI parameter by transport (RFC 3261 §19.1.1, 7118 §5.2); `tls` is deprecated there but what every peer sends."""
