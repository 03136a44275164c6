"""Digest authentication (RFC 3261 section 22, RFC 2617, RFC 7616, RFC 8760): challenges, credentials, proofs.

An HA1 (the hash of user name, realm and password) stands for the password everywhere; the password itself is not
needed to answer a challenge or to check credentials. It may have the name of its hash in front (`algorithm_of`). Of one
password there may be several, each by another hash: they are one text, separated by commas (`gathered`).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sbc.sip.errors import ParseError
from sbc.sip.scan import BLANK, quote, split_commas, unquote

_NC: Final = frozenset(b"0123456789abcdefABCDEF")


def _md5(text: bytes) -> str:
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def _sha256(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _sha512_256(text: bytes) -> str:
    return hashlib.new("sha512_256", text).hexdigest()


#: Hash algorithms by the upper-case name on the wire, without "-sess".
HASHES: Final[dict[str, Callable[[bytes], str]]] = {"MD5": _md5, "SHA-256": _sha256}
if "sha512_256" in hashlib.algorithms_available:
    HASHES["SHA-512-256"] = _sha512_256


#: The hashes from the one to be asked for first to the one to be asked for last (RFC 8760 section 2.3).
PREFERRED: Final = tuple(name for name in ("SHA-512-256", "SHA-256", "MD5") if name in HASHES)
_DIGITS: Final = {"MD5": 32, "SHA-256": 64, "SHA-512-256": 64}


def ha1(username: str | bytes, realm: str | bytes, password: str | bytes, algorithm: str = "MD5") -> str:
    """The HA1 as lower-case hex. `algorithm` is a key of HASHES."""
    return HASHES[algorithm](b"%b:%b:%b" % (_bytes(username), _bytes(realm), _bytes(password)))


def algorithm_of(ha1: str) -> str:
    """The key of HASHES that an HA1 of a user was made with.

    It may stand in front of it, as in `SHA-512-256:0f…`; without that 32 digits are MD5 and 64 are SHA-256.
    """
    name, colon, _ = ha1.partition(":")
    if colon:
        return name
    return "MD5" if len(ha1) == 32 else "SHA-256"


def gathered(text: str) -> str:
    """HA1s of one password, separated by commas, as they are kept: lower-case, each hash once, MD5 first.

    ValueError for what is no HA1, for two of one hash, and for a hash that cannot be computed here.
    """
    found: dict[str, str] = {}
    for each in text.split(","):
        name, _, digits = each.strip().lower().rpartition(":")
        algorithm = name.upper() or algorithm_of(digits)
        if len(digits) != _DIGITS.get(algorithm) or not _NC.issuperset(digits.encode()):
            raise ValueError("an HA1 has 32 (MD5) or 64 (SHA-256, SHA-512-256) hexadecimal digits")
        if algorithm in found or algorithm not in HASHES:
            raise ValueError(f"{algorithm} twice, or not known here")
        found[algorithm] = f"{algorithm}:{digits}" if algorithm_of(digits) != algorithm else digits
    return ",".join(found[name] for name in reversed(PREFERRED) if name in found)


def ha1_by(algorithm: str, ha1s: str) -> str | None:
    """The one of several HA1s that was made with this hash, "-sess" or not."""
    wanted = algorithm.removesuffix("-sess")
    return next((each for each in ha1s.split(",") if each and algorithm_of(each) == wanted), None)


def hashes_of(ha1s: str) -> tuple[str, ...]:
    """The hashes that HA1s are known of, the one to be asked for first in front."""
    return tuple(name for name in PREFERRED if ha1_by(name, ha1s) is not None)


def agree(given: str, known: str) -> bool:
    """Whether each of the HA1s in `given` is among the `known` ones."""
    digits = {each.rpartition(":")[2] for each in known.split(",")}
    return all(each.rpartition(":")[2] in digits for each in given.split(","))


@dataclass(slots=True, frozen=True, kw_only=True)
class Challenge:
    """A WWW-Authenticate or Proxy-Authenticate value. Byte fields are unquoted, empty when absent.

    `qop` is what is offered, lower-case; empty when none is (RFC 2069). `algorithm` is upper-case up to "-sess",
    "MD5" when absent.
    """

    realm: bytes
    nonce: bytes
    opaque: bytes = b""
    algorithm: str = "MD5"
    qop: tuple[str, ...] = ()
    stale: bool = False

    @classmethod
    def parse(cls, value: bytes) -> Challenge:
        """ParseError when it is not Digest or has no realm or nonce."""
        fields = _fields(value)
        if b"realm" not in fields or not fields.get(b"nonce"):
            raise ParseError(b"Bad Challenge")
        offered = fields.get(b"qop", b"").decode("latin-1").lower().split(",")
        return cls(
            realm=fields[b"realm"],
            nonce=fields[b"nonce"],
            opaque=fields.get(b"opaque", b""),
            algorithm=_algorithm(fields),
            qop=tuple(word for one in offered if (word := one.strip())),
            stale=fields.get(b"stale", b"").lower() == b"true",
        )

    def render(self) -> bytes:
        """The value to send."""
        parts = [b"realm=" + quote(self.realm), b"nonce=" + quote(self.nonce)]
        if self.opaque:
            parts.append(b"opaque=" + quote(self.opaque))
        if self.stale:
            parts.append(b"stale=true")
        parts.append(b"algorithm=" + self.algorithm.encode())
        if self.qop:
            parts.append(b"qop=" + quote(",".join(self.qop).encode()))
        return b"Digest " + b", ".join(parts)


@dataclass(slots=True, frozen=True, kw_only=True)
class Credentials:
    """An Authorization or Proxy-Authorization value. Byte fields are unquoted, empty when absent."""

    username: bytes
    realm: bytes
    nonce: bytes
    uri: bytes
    response: bytes
    algorithm: str = "MD5"
    cnonce: bytes = b""
    opaque: bytes = b""
    qop: bytes = b""
    nc: bytes = b""

    @classmethod
    def parse(cls, value: bytes) -> Credentials:
        """ParseError when it is not Digest or a field without which nothing can be proved is missing."""
        fields = _fields(value)
        for name in (b"username", b"realm", b"nonce", b"uri", b"response"):
            if name not in fields:
                raise ParseError(b"Bad Credentials")
        return cls(
            username=fields[b"username"],
            realm=fields[b"realm"],
            nonce=fields[b"nonce"],
            uri=fields[b"uri"],
            response=fields[b"response"],
            algorithm=_algorithm(fields),
            cnonce=fields.get(b"cnonce", b""),
            opaque=fields.get(b"opaque", b""),
            qop=fields.get(b"qop", b"").lower(),
            nc=fields.get(b"nc", b""),
        )


def can_answer(challenge: Challenge, ha1_algorithm: str = "MD5") -> bool:
    """True when an HA1 made with `ha1_algorithm` answers this challenge."""
    hashed = challenge.algorithm.removesuffix("-sess")
    known_qop = not challenge.qop or "auth" in challenge.qop or "auth-int" in challenge.qop
    return hashed == ha1_algorithm and hashed in HASHES and known_qop


def fitting(challenge: Challenge, ha1s: str) -> str | None:
    """The one of several HA1s that answers this challenge, if any does."""
    known = ha1_by(challenge.algorithm, ha1s)
    return known if known is not None and can_answer(challenge, algorithm_of(known)) else None


def answer(
    challenge: Challenge,
    *,
    username: str | bytes,
    ha1: str,
    method: bytes,
    uri: bytes,
    body: bytes = b"",
    nc: int = 1,
    cnonce: str | bytes,
) -> bytes:
    """The value of Authorization that answers `challenge`, which `can_answer` must have accepted.

    `nc` counts the uses of this nonce from 1; `uri` is the Request-URI of the request. "auth" is preferred to
    "auth-int"; without an offered qop the answer is that of RFC 2069.
    """
    qop = b"" if not challenge.qop else b"auth" if "auth" in challenge.qop else b"auth-int"
    client = _bytes(cnonce)
    count = b"%08x" % nc
    proof = _proof(challenge.algorithm, ha1, challenge.nonce, count, client, qop, method, uri, body)
    parts = [
        b"username=" + quote(_bytes(username)),
        b"realm=" + quote(challenge.realm),
        b"nonce=" + quote(challenge.nonce),
        b"uri=" + quote(uri),
        b'response="%b"' % proof.encode(),
        b"algorithm=" + challenge.algorithm.encode(),
    ]
    if qop or challenge.algorithm.endswith("-sess"):
        parts.append(b"cnonce=" + quote(client))
    if challenge.opaque:
        parts.append(b"opaque=" + quote(challenge.opaque))
    if qop:
        parts.append(b"qop=%b, nc=%b" % (qop, count))
    return b"Digest " + b", ".join(parts)


def verify(credentials: Credentials, ha1: str, method: bytes, body: bytes = b"") -> bool:
    """True when `credentials` prove knowledge of the password behind `ha1`; compared in constant time.

    Nonce, realm, user name, uri and nc are the caller's to judge.
    """
    given = credentials
    if given.algorithm.removesuffix("-sess") not in HASHES or given.qop not in (b"", b"auth", b"auth-int"):
        return False
    if given.qop and not (len(given.nc) == 8 and _NC.issuperset(given.nc) and given.cnonce):
        return False
    proof = _proof(given.algorithm, ha1, given.nonce, given.nc, given.cnonce, given.qop, method, given.uri, body)
    return hmac.compare_digest(proof.encode(), given.response.lower())


def _proof(
    algorithm: str,
    ha1: str,
    nonce: bytes,
    nc: bytes,
    cnonce: bytes,
    qop: bytes,
    method: bytes,
    uri: bytes,
    body: bytes,
) -> str:
    hashed = HASHES[algorithm.removesuffix("-sess")]
    secret = ha1.rpartition(":")[2].encode()
    if algorithm.endswith("-sess"):
        secret = hashed(b"%b:%b:%b" % (secret, nonce, cnonce)).encode()
    what = b"%b:%b" % (method, uri)
    if qop == b"auth-int":
        what += b":" + hashed(body).encode()
    done = hashed(what).encode()
    if not qop:
        return hashed(b"%b:%b:%b" % (secret, nonce, done))
    return hashed(b"%b:%b:%b:%b:%b:%b" % (secret, nonce, nc, cnonce, qop, done))


def _fields(value: bytes) -> dict[bytes, bytes]:
    scheme, _, rest = value.strip(BLANK).partition(b" ")
    if scheme.lower() != b"digest":
        raise ParseError(b"Not Digest")
    fields: dict[bytes, bytes] = {}
    for part in split_commas(rest):
        name, equals, text = part.partition(b"=")
        name = name.strip(BLANK).lower()
        if not equals or name in fields:
            raise ParseError(b"Bad Digest")
        fields[name] = unquote(text.strip(BLANK))
    return fields


def _algorithm(fields: Mapping[bytes, bytes]) -> str:
    name = fields.get(b"algorithm", b"").decode("latin-1").upper() or "MD5"
    return name.removesuffix("-SESS") + "-sess" if name.endswith("-SESS") else name


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
