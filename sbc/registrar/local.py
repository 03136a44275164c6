"""REGISTERs that are answered here, between two refreshes at the upper server: pure.

A phone that registers every minute to keep its NAT open needs not be heard by the upper server each time, where the
SBC knows itself who it is: it asks for a digest under a nonce of its own and checks it by the stored HA1. What differs
from what the upper server knows goes up: another User-Agent, another HA1, a registration that ends soon.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from sbc.registrar.decide import Plan, Wish
from sbc.sip.digest import Challenge, Credentials, agree, answer, fitting, ha1_by, hashes_of, verify
from sbc.sip.errors import ParseError
from sbc.sip.message import Request, Response
from sbc.sip.uri import Uri
from sbc.store.records import UpperRegistration, User
from sbc.upper.registration import parsed_challenges

NONCE_LIFE = 600
"""Seconds that a nonce of ours may be used."""
MAX_NONCES = 100_000
"""Nonces whose use is remembered, about 150 bytes each; one that is forgotten can be used once more while it lives."""
_COUNT = re.compile(rb"[0-9A-Fa-f]{8}")
"""How a client counts the uses of a nonce (RFC 7616 section 3.4)."""
SOON = 60.0
"""Seconds of the upper registration that must be left, that a REGISTER may be answered here."""


class Said(Enum):
    """What a REGISTER's credentials say to us."""

    NOTHING = "nothing"
    """None of them is for a nonce of ours."""
    STALE = "stale"
    PROVED = "proved"
    WRONG = "wrong"


class Door:
    """Nonces of ours. `secret` makes them unforgeable; of those in use the highest count is remembered."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._used: OrderedDict[bytes, int] = OrderedDict()

    def challenge(self, user: User, now_at: float, random: bytes, *, stale: bool = False) -> list[bytes]:
        """The WWW-Authenticate values for a user whose HA1s are known: one for each hash, the one to be used by whoever
        can first (RFC 8760 section 2.3). `random` makes the nonce, which they share, this one phone's."""
        said = b"%x.%s" % (int(now_at), random)
        nonce = said + b"." + self._seal(said)
        realm = user.realm.encode()
        return [
            Challenge(realm=realm, nonce=nonce, algorithm=algorithm, qop=("auth",), stale=stale).render()
            for algorithm in hashes_of(user.ha1)
        ]

    def ask(self, request: Request, user: User, now_at: float, ours: frozenset[bytes] = frozenset()) -> Said:
        """Whether the credentials of a REGISTER prove that this user sent it. A count is good once.

        They must be for this realm and domain, by a hash that we asked for: with another one they were made for
        somebody else. Clients that write the address which they send to, one of `ours`, into their digest URI mean the
        same.
        """
        for given in credentials(request):
            said, _, seal = given.nonce.rpartition(b".")
            if not hmac.compare_digest(self._seal(said), seal):
                continue
            if now_at - int(said.partition(b".")[0], 16) > NONCE_LIFE:
                return Said.STALE
            names = (user.auth_username or user.username).encode()
            if given.username != names or given.realm != user.realm.encode() or not given.qop:
                return Said.WRONG
            used = ha1_by(given.algorithm, user.ha1)
            if used is None or not _means(given.uri, request, user, ours):
                return Said.WRONG
            if not verify(given, used, b"REGISTER", request.body):
                return Said.WRONG
            if not _COUNT.fullmatch(given.nc):
                return Said.WRONG
            return Said.PROVED if self._count(given.nonce, int(given.nc, 16)) else Said.STALE
        return Said.NOTHING

    def ours(self, value: bytes) -> bool:
        """Whether an Authorization value is for a nonce of ours: the upper server has no use for it."""
        try:
            said, _, seal = Credentials.parse(value).nonce.rpartition(b".")
        except ParseError:
            return False
        return hmac.compare_digest(self._seal(said), seal)

    def proves_upward(self, request: Request) -> bool:
        """Whether a request has credentials that are for the upper server to judge."""
        if request.has(b"proxy-authorization"):
            return True
        return any(not self.ours(value) for value in request.lines(b"authorization"))

    def _count(self, nonce: bytes, count: int) -> bool:
        if count <= self._used.get(nonce, 0):
            return False
        self._used[nonce] = count
        self._used.move_to_end(nonce)
        while len(self._used) > MAX_NONCES:
            self._used.popitem(last=False)
        return True

    def _seal(self, said: bytes) -> bytes:
        return hmac.new(self._secret, said, hashlib.sha256).hexdigest()[:24].encode()


@dataclass(frozen=True, slots=True)
class Spared:
    """A REGISTER that need not go up; the phone may count on `seconds`. `row`: its registration there."""

    seconds: int
    row: UpperRegistration


def spared(
    plan: Plan, user: User, rows: Iterable[UpperRegistration], token: str, *, user_agent: str, now_at: float
) -> Spared | None:
    """Whether a REGISTER tells the upper server nothing new. `rows` are the user's registrations there, `token` the
    user part of the Contact that this device has there."""
    if plan.wish is not Wish.BIND or not user.ha1 or not user.realm or user.state != "active":
        return None
    if plan.handover.ha1 is not None and not agree(plan.handover.ha1, user.ha1):
        return None
    if user_agent != user.user_agent:
        return None
    for row in rows:
        if row.state != "registered" or row.expires_at is None or f":{token}@" not in row.contact:
            continue
        left = row.expires_at - now_at
        if left >= SOON:
            return Spared(plan.expires if row.next_at is not None else min(plan.expires, int(left)), row)
    return None


def last_said(row: UpperRegistration) -> list[tuple[bytes, bytes]]:
    """The headers of the upper server's last 2xx that concern more than its time, to be said again in its place."""
    said = ((b"Service-Route", row.service_route), (b"P-Associated-URI", row.associated))
    contact = (b"Contact", f"<{row.contact}>{row.gruus}".encode())
    return [contact, *((name, value.encode()) for name, value in said if value)]


def proof(
    response: Response, sent: Request, *, ha1: str, username: str, realm: str, cnonce: bytes
) -> tuple[bytes, bytes] | None:
    """The header that answers the upper server's challenge to a REGISTER, by an HA1 that its sender is known to have:
    of several challenges the topmost that one answers (RFC 8760 section 2.4).

    `realm`: the one that the HA1s were made for, where that is known; a challenge of another is not answered.
    """
    proxy = response.status == 407
    for challenge in parsed_challenges(response, b"proxy-authenticate" if proxy else b"www-authenticate"):
        used = fitting(challenge, ha1)
        if used is not None and realm in ("", challenge.realm.decode("utf-8", "replace")):
            value = answer(challenge, username=username, ha1=used, method=b"REGISTER", uri=sent.uri, cnonce=cnonce)
            return (b"proxy-authorization" if proxy else b"authorization", value)
    return None


def credentials(request: Request) -> list[Credentials]:
    """What can be read of a request's Authorization."""
    found = []
    for value in request.lines(b"authorization"):
        try:
            found.append(Credentials.parse(value))
        except ParseError:
            continue
    return found


def _means(digest_uri: bytes, request: Request, user: User, ours: frozenset[bytes]) -> bool:
    """Whether a digest URI names what the request is for (RFC 7616 section 3.4.6)."""
    if digest_uri == request.uri:
        return True
    try:
        uri = Uri.parse(digest_uri)
    except ParseError:
        return False
    return uri.is_sip and (uri.host.lower() in ours or uri.host.lower() == user.domain.encode())
