"""Who may do what: decides for each HTTP request whether it is served. Pure.

On loopback reading needs no key; writing always does, and so does everything from elsewhere. A browser on the same host
must not become the door for a foreign web page, so loopback is believed only with a host name of ours (no DNS
rebinding) and without signs of a proxy in between. A key goes in ``Authorization: Bearer``; ``Basic`` (any user name,
the key as password) is for reading pages in a browser and never enough to write, since browsers send it along on
foreign pages' behalf.
"""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final, Literal

from sbc.admin.keys import Keyring, Role
from sbc.admin.routes import Refused

FAILURES: Final = 10
"""Wrong keys from one address within `FORGET` seconds, before it is not listened to any more."""

FORGET: Final = 60.0
"""Seconds after which wrong keys are forgotten."""

SOURCES: Final = 10_000
"""Addresses remembered with wrong keys; the oldest go first."""

PROXY_HEADERS: Final = (b"x-forwarded-for", b"forwarded", b"x-real-ip", b"x-forwarded-host", b"via")
"""Signs that the peer only passes on what somebody else asked."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request shows of its sender: the peer's IP, its Host and Authorization headers, signs of a proxy."""

    peer: str
    host: str
    authorization: str
    proxied: bool


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who was let in: by the name of a key, or as ``local``; `role` says what for."""

    name: str
    role: Role


LOCAL: Final = Caller("local", "read")
"""A reader on this host without a key."""


class Access:
    """The rule above, for one listener. `hosts` are the names, besides IP addresses and localhost, it is reached by."""

    def __init__(self, keyring: Keyring, *, key_on_loopback: bool = False, hosts: Iterable[str] = ()) -> None:
        self.keyring = keyring
        self.key_on_loopback = key_on_loopback
        self.hosts = frozenset(host.lower() for host in hosts)
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def admit(self, shown: Credentials, need: Role, now: float, now_at: float) -> Caller:
        """Who this is, if they may do what needs `need`; else raises `Refused` 401, 403, 421 or 429.

        `now` is monotonic, for the throttle; `now_at` is UTC epoch seconds, for the expiry of keys.
        """
        if shown.authorization:
            return self._with_key(shown, need, now, now_at)
        if need == "write" or self.key_on_loopback or shown.proxied or not _loopback(shown.peer):
            raise Refused(401, "an API key is needed: Authorization: Bearer KEY")
        if not self._known_host(shown.host):
            raise Refused(421, "this host name is not ours; add it to admin.hosts, or use a key")
        return LOCAL

    def admit_by(self, peer: str, now: float, recognise: Callable[[], Caller | None]) -> Caller:
        """Who showed a key in a way of its own; raises `Refused` 401, or 429 after too many wrong ones."""
        count, since = self._throttle(peer, now)
        known = recognise()
        if known is None:
            self._failed(peer, count, since)
            raise Refused(401, "this key is not known")
        return known

    def _with_key(self, shown: Credentials, need: Role, now: float, now_at: float) -> Caller:
        count, since = self._throttle(shown.peer, now)
        scheme, key = _offered(shown.authorization)
        known = self.keyring.recognise(key, now_at) if key else None
        if known is None:
            self._failed(shown.peer, count, since)
            raise Refused(401, "this API key is not known")
        if need == "write" and known.role != "write":
            raise Refused(403, "this API key is for reading only")
        if need == "write" and scheme != "bearer":
            raise Refused(403, "writing needs Authorization: Bearer KEY")
        return Caller(known.name, known.role)

    def _throttle(self, peer: str, now: float) -> tuple[int, float]:
        """How many wrong keys the peer has shown lately, since when; raises `Refused` 429."""
        count, since = self._failures.get(peer, (0, now))
        if now - since > FORGET:
            count, since = 0, now
        if count >= FAILURES:
            raise Refused(429, "too many wrong keys; wait a minute")
        return count, since

    def _failed(self, peer: str, count: int, since: float) -> None:
        self._failures[peer] = (count + 1, since)
        self._failures.move_to_end(peer)
        if len(self._failures) > SOURCES:
            self._failures.popitem(last=False)

    def _known_host(self, host: str) -> bool:
        name = _host_name(host)
        if name == "localhost" or name in self.hosts:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True


def _offered(authorization: str) -> tuple[Literal["bearer", "basic", ""], str]:
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return "bearer", rest.strip()
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(rest.strip(), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return "basic", ""
        return "basic", pair.partition(":")[2]
    return "", ""


def _host_name(host: str) -> str:
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def _loopback(peer: str) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback
