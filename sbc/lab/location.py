"""The registrar of the emulated upper server (RFC 3261 section 10.3, RFC 3327): digest, expiry, who is where. Pure.

In: REGISTER requests with the time. Out: what to answer, and `Location.contacts` for calls.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from sbc.sip import NameAddr, ParseError, Request
from sbc.sip.digest import Challenge, Credentials, ha1, verify

MAX_CONTACTS = 20  # of one user
MAX_NONCES = 50_000  # remembered; the oldest are forgotten (their users get a new challenge)

Header = tuple[bytes, bytes]


@dataclass(slots=True)
class Contact:
    """One binding. `uri` is the Contact's URI, `path` the Path values in order, `expires_at` in the location's time."""

    uri: bytes
    expires_at: float
    path: list[bytes]
    call_id: bytes
    cseq: int
    updated_at: float
    user_agent: str = ""
    instance: bytes = b""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to answer. `proved` is True when good credentials came."""

    status: int
    headers: tuple[Header, ...] = ()
    proved: bool = False


@dataclass(slots=True, kw_only=True)
class RegistrarRules:
    """How the registrar behaves; may be changed while it runs.

    `realm` and `users` (name to password) make the digest, by one `algorithm` or by several, separated by commas, of
    which the first is preferred (RFC 8760); `challenge` False lets everybody in. `expires` is granted
    at most (s), `min_expires` at least asked for. `nonce_life` (s) and `nonce_uses` bound a nonce, after that
    ``stale=true``. `gruu`: instances that say they support it get GRUUs (RFC 5627). `next_nonce` announces a new
    nonce with each success (RFC 7616 section 3.5).
    """

    realm: str
    users: Mapping[str, str]
    challenge: bool = True
    algorithm: str = "MD5"
    qop: tuple[str, ...] = ("auth",)
    expires: int = 3600
    min_expires: int = 60
    nonce_life: float = 300.0
    nonce_uses: int = 1_000_000
    next_nonce: bool = False
    gruu: bool = False

    @property
    def algorithms(self) -> list[str]:
        """All that it asks for."""
        return [each.strip() for each in self.algorithm.split(",")]


@dataclass(slots=True)
class _Nonce:
    made_at: float
    uses: int = 0
    last: int = 0


@dataclass(slots=True)
class Location:
    """Bindings by user name."""

    rules: RegistrarRules
    users: dict[str, list[Contact]] = field(default_factory=dict)
    _nonces: dict[bytes, _Nonce] = field(default_factory=dict)

    def contacts(self, user: str, now: float) -> list[Contact]:
        """The live bindings of a user, the latest first."""
        live = [contact for contact in self.users.get(user, ()) if contact.expires_at > now]
        if live:
            self.users[user] = live
        else:
            self.users.pop(user, None)
        return sorted(live, key=lambda contact: -contact.updated_at)

    def forget_nonces(self) -> None:
        """Every nonce handed out is stale from now on."""
        self._nonces.clear()

    def register(self, request: Request, now: float) -> Verdict:
        """Judge one REGISTER and carry it out when it is good."""
        user = request.to.uri.username
        proof = self.check(request, now, b"authorization")
        if proof.status != 200:
            return proof
        if self.rules.challenge and proof.headers[0][1].decode() != user:
            return Verdict(403, proved=True)
        if user not in self.rules.users:
            return Verdict(404, proved=True)
        refusal = self._bind(request, user, now)
        if refusal is not None:
            return refusal
        headers: list[Header] = []
        for contact in self.contacts(user, now):
            left = b"%d" % round(contact.expires_at - now)
            gruus = self._gruus(request, user, contact) if self.rules.gruu else b""
            headers.append((b"contact", b"<%b>;expires=%b%b" % (contact.uri, left, gruus)))
        headers.extend((b"path", path) for path in request.lines(b"path"))
        if self.rules.next_nonce and self.rules.challenge:
            headers.append((b"authentication-info", b'nextnonce="%b"' % self._nonce(now)))
        return Verdict(200, tuple(headers), proved=True)

    def check(self, request: Request, now: float, header: bytes) -> Verdict:
        """Digest alone: 200 with the user's name as the only header, or 401 (407 for Proxy-Authorization)."""
        asked = 401 if header == b"authorization" else 407
        name = b"www-authenticate" if asked == 401 else b"proxy-authenticate"
        if not self.rules.challenge:
            return Verdict(200, ((b"", b""),))
        for value in request.lines(header):
            if value[:7].lower() != b"digest ":
                continue
            try:
                given = Credentials.parse(value)
            except ParseError:
                return Verdict(400)
            if given.realm.decode("utf-8", "replace") != self.rules.realm:
                continue
            user = given.username.decode("utf-8", "replace")
            password = self.rules.users.get(user)
            algorithm = given.algorithm.removesuffix("-sess")
            if algorithm not in [each.removesuffix("-sess") for each in self.rules.algorithms]:
                continue
            if password is None:
                return Verdict(403)
            if not verify(given, ha1(user, self.rules.realm, password, algorithm), request.method, request.body):
                return Verdict(403)
            if self._stale(given, now):
                return self.challenge(now, name, asked, stale=True)
            return Verdict(200, ((b"", given.username),), proved=True)
        return self.challenge(now, name, asked)

    def challenge(
        self, now: float, name: bytes = b"www-authenticate", status: int = 401, *, stale: bool = False
    ) -> Verdict:
        """A new challenge."""
        rules, nonce = self.rules, self._nonce(now)
        asked = [
            Challenge(realm=rules.realm.encode(), nonce=nonce, algorithm=algorithm, qop=rules.qop, stale=stale)
            for algorithm in rules.algorithms
        ]
        return Verdict(status, tuple((name, each.render()) for each in asked))

    def _gruus(self, request: Request, user: str, contact: Contact) -> bytes:
        if not contact.instance or b"gruu" not in request.each(b"supported"):
            return b""
        realm, name = self.rules.realm.encode(), contact.instance.strip(b'"<>')
        public = b'"sip:%b@%b;gr=%b"' % (user.encode(), realm, name)
        return b';pub-gruu=%b;temp-gruu="sip:tgruu.%b@%b;gr"' % (public, secrets.token_hex(8).encode(), realm)

    def _nonce(self, now: float) -> bytes:
        nonce = secrets.token_hex(16).encode()
        if len(self._nonces) >= MAX_NONCES:
            del self._nonces[next(iter(self._nonces))]
        self._nonces[nonce] = _Nonce(now)
        return nonce

    def _stale(self, given: Credentials, now: float) -> bool:
        known = self._nonces.get(given.nonce)
        if known is None or now - known.made_at > self.rules.nonce_life or known.uses >= self.rules.nonce_uses:
            return True
        known.uses += 1
        if given.qop:
            count = int(given.nc, 16)
            if count <= known.last:
                return True
            known.last = count
        return False

    def _bind(self, request: Request, user: str, now: float) -> Verdict | None:
        """Carry out the Contacts; a Verdict when they are refused."""
        default = request.expires if request.expires is not None else self.rules.expires
        if request.star_contact:
            if default != 0:
                return Verdict(400, proved=True)
            self.users.pop(user, None)
            return None
        number = request.cseq.number
        kept = {contact.uri: contact for contact in self.contacts(user, now)}
        for address in request.contacts:
            wanted = _expires(address, default)
            if 0 < wanted < self.rules.min_expires:
                return Verdict(423, ((b"min-expires", b"%d" % self.rules.min_expires),), proved=True)
            uri = address.uri.render()
            known = kept.get(uri)
            if known is not None and known.call_id == request.call_id and number <= known.cseq:
                return Verdict(500, proved=True)
            if wanted == 0:
                kept.pop(uri, None)
                continue
            agent = (request.first(b"user-agent") or b"").decode("utf-8", "replace")
            instance = address.params.get(b"+sip.instance") or b""
            until = now + min(wanted, self.rules.expires)
            kept[uri] = Contact(uri, until, request.each(b"path"), request.call_id, number, now, agent, instance)
        if len(kept) > MAX_CONTACTS:
            return Verdict(503, proved=True)
        self.users[user] = list(kept.values())
        return None


def _expires(address: NameAddr, default: int) -> int:
    value = address.params.get(b"expires")
    return int(value) if value and value.isdigit() else default
