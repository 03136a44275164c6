"""Which headers may cross the SBC: the operator's strip list and allow list. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sbc.sip.message import Message

ALWAYS = frozenset(
    name.encode()
    for name in (
        "via", "max-forwards", "from", "to", "call-id", "cseq", "contact", "route", "record-route", "content-length",
        "content-type", "content-encoding", "content-disposition", "content-language", "mime-version", "expires",
        "min-expires", "allow", "allow-events", "supported", "require", "proxy-require", "unsupported", "event",
        "subscription-state", "sip-etag", "sip-if-match", "refer-to", "referred-by", "refer-sub", "replaces", "join",
        "target-dialog", "session-expires", "min-se", "rseq", "rack", "reason", "retry-after", "accept",
        "accept-encoding", "accept-language", "www-authenticate", "authorization", "proxy-authenticate",
        "proxy-authorization", "authentication-info", "proxy-authentication-info", "timestamp", "warning",
        "max-breadth", "info-package", "recv-info",
    )
)  # fmt: skip
"""Headers without which calls, subscriptions or authentication break: no allow list takes them away."""

NOTHING: Mapping[bytes, tuple[bytes, ...]] = {}


class HeaderRules:
    """`strip`: names that never cross; `allow`: if any are named, nothing crosses but these and `ALWAYS`.

    Names in any case. Compact forms are meant by their long ones.
    """

    __slots__ = ("_allow", "_strip")

    def __init__(self, strip: Iterable[str] = (), allow: Iterable[str] = ()) -> None:
        named = frozenset(name.strip().lower().encode() for name in allow)
        self._strip = frozenset(name.strip().lower().encode() for name in strip) - ALWAYS
        self._allow = named | ALWAYS if named else None

    def changes(self, message: Message) -> Mapping[bytes, tuple[bytes, ...]]:
        """What `Message.edited` is to be told so that only what may cross does."""
        if self._allow is not None:
            allowed = self._allow
            return {name: () for name in message.names() if name not in allowed or name in self._strip}
        if self._strip:
            return dict.fromkeys(self._strip, ())
        return NOTHING


KEEP_ALL = HeaderRules()
