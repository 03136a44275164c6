"""What one refresh of an upper registration does: pure.

Told the answers of the upper server, a `Refresh` says what to send next or how the registration stands now. The stored
HA1 answers nothing but this: our own REGISTER, to the server it was made for, for the realm it was made for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from sbc.sip.digest import Challenge, answer, fitting, ha1_by
from sbc.sip.errors import ParseError
from sbc.sip.message import Response
from sbc.sip.uri import Uri
from sbc.upper.given import Given, given
from sbc.upper.nonces import Nonce, next_nonce

MIN_BACKOFF = 5.0
"""Seconds until the first retry after a failure of the upper server."""
MAX_BACKOFF = 900.0
"""Seconds between retries at most: an operator's outage must end for every phone within a quarter of an hour."""
MAX_CHALLENGES = 2
"""Challenges answered in one refresh: the first, and one more for a stale nonce (security: no challenge loop)."""
MAX_ASKED = 86_400
"""Seconds of expiry that a 423 may push us to; a server that asks for more than a day is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whose registration this is.

    `auth_username` is the name that the HA1s in `ha1` (empty where none is known) were made with, `contact` the URI
    shown to the upper server.
    """

    username: str
    auth_username: str
    domain: str
    realm: str
    ha1: str
    user_agent: str
    contact: str


@dataclass(frozen=True, slots=True)
class Register:
    """Send a REGISTER: `expires` in seconds (0 ends the registration), `cseq`, the credentials header or none."""

    expires: int
    cseq: int
    credentials: tuple[bytes, bytes] | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How the registration stands after a refresh; times are UTC epoch seconds.

    `state` is one of `registered`, `failing` (the server does not answer or says 5xx; tried again at `next_at`),
    `rejected` (the server will not have this user; not tried again), `needs_wake` (only the app itself can answer
    the challenge) and `ended` (unregistered by us).
    """

    state: str
    code: int
    reason: str
    expires_at: float | None
    next_at: float | None
    failures: int
    cseq: int
    given: Given | None = None
    """What the server gave with a registration; None: nothing was heard of it."""


REJECTIONS: dict[int, str] = {
    400: "the upper server finds our REGISTER malformed",
    403: "the account is forbidden or its password changed",
    404: "the account is gone",
    405: "the server takes no REGISTER",
    410: "the account is gone",
    604: "the account exists nowhere",
}
"""Final answers after which trying again with the same HA1 is pointless until the app registers again."""


class Refresh:
    """One refresh, from the first REGISTER to its outcome.

    `failures` counts refreshes that failed before this one in a row; `uniform` returns a number in [0, 1). `nonce` is
    one that the server gave earlier; after a success `nonce` is the one to be kept. `longest`: seconds after which the
    next refresh comes at the latest.
    """

    __slots__ = ("_asked", "_challenges", "_longest", "_raised", "account", "cseq", "failures", "nonce", "uniform")

    def __init__(
        self,
        account: Account,
        *,
        expires: int,
        cseq: int,
        failures: int,
        uniform: Callable[[], float],
        nonce: Nonce | None = None,
        longest: float = math.inf,
    ) -> None:
        self.account = account
        self.cseq = cseq
        self.failures = failures
        self.uniform = uniform
        self._asked = expires
        self._challenges = 0
        self._raised = False
        self._longest = longest
        self.nonce = nonce if nonce is not None and self._fits(nonce.challenge) else None

    def start(self, cnonce: bytes) -> Register:
        """The first request: with credentials where there is a nonce for them."""
        return self._answer(self.nonce, cnonce) if self.nonce is not None else self._register(None)

    def answered(self, response: Response, cnonce: bytes, now_at: float) -> Register | Standing:
        """The final answer to the last REGISTER. `cnonce` is fresh randomness for a digest."""
        status = response.status
        if status < 300:
            return self._accepted(response, now_at)
        if status in (401, 407):
            return self._challenged(response, cnonce, now_at)
        if status == 423 and not self._raised:
            least = minimum_expires(response)
            if least is not None and self._asked < least <= MAX_ASKED:
                self._raised = True
                self._asked = least
                self._challenges = 0  # another request, so its challenge is a first one
                return self._register(None)
        if status in REJECTIONS:
            return self._standing("rejected", response, None)
        return self._failing(status, response.reason.decode("utf-8", "replace"), now_at, retry_after(response))

    def unanswered(self, reason: str, now_at: float) -> Standing:
        """No answer came, or the server could not be reached."""
        return self._failing(408, reason, now_at, None)

    def unfit(self, standing: Standing, now_at: float) -> Standing:
        """The same verdict from a server that has no say about the user: tried again later."""
        return self._failing(standing.code, standing.reason, now_at, None)

    def _register(self, credentials: tuple[bytes, bytes] | None) -> Register:
        self.cseq += 1
        return Register(self._asked, self.cseq, credentials)

    def _accepted(self, response: Response, now_at: float) -> Standing:
        if self._asked == 0:
            return self._standing("ended", response, None)
        granted = granted_expires(response, self.account.contact, self._asked)
        if granted <= 0:
            return self._failing(response.status, "the upper server granted no time", now_at, None)
        if self.nonce is not None:
            self.nonce = next_nonce(response, self.nonce)
        return Standing(
            "registered",
            response.status,
            response.reason.decode("utf-8", "replace"),
            now_at + granted,
            refresh_at(granted, now_at, self.uniform(), self._longest),
            0,
            self.cseq,
            given(response, self.account.contact.encode()),
        )

    def _challenged(self, response: Response, cnonce: bytes, now_at: float) -> Register | Standing:
        self.nonce = None
        if not self.account.ha1:
            return self._standing("needs_wake", response, None)
        self._challenges += 1
        proxy = response.status == 407
        challenges = parsed_challenges(response, b"proxy-authenticate" if proxy else b"www-authenticate")
        answerable = [each for each in challenges if self._fits(each)]  # the server's favourite first (RFC 8760 §2.4)
        if not answerable:
            return self._standing("needs_wake", response, None)
        if self._challenges > 1 and not answerable[0].stale:
            return self._standing("rejected", response, None)
        if self._challenges > MAX_CHALLENGES:
            # A digest under a stale nonce was right (RFC 7616 section 3.3): the server is at fault, not the password.
            return self._failing(response.status, "the upper server takes no nonce of its own", now_at, None)
        return self._answer(Nonce(answerable[0], 0, proxy), cnonce)

    def _fits(self, challenge: Challenge) -> bool:
        """Whether a stored HA1 was made for this challenge's realm and algorithm."""
        account = self.account
        return challenge.realm == account.realm.encode() and fitting(challenge, account.ha1) is not None

    def _answer(self, nonce: Nonce, cnonce: bytes) -> Register:
        account = self.account
        self.nonce = nonce.used()
        value = answer(
            nonce.challenge,
            username=account.auth_username,
            ha1=ha1_by(nonce.challenge.algorithm, account.ha1) or "",
            method=b"REGISTER",
            uri=b"sip:" + account.domain.encode(),
            nc=self.nonce.count,
            cnonce=cnonce,
        )
        return self._register((b"proxy-authorization" if nonce.proxy else b"authorization", value))

    def _standing(self, state: str, response: Response, next_at: float | None) -> Standing:
        reason = response.reason.decode("utf-8", "replace")
        return Standing(state, response.status, reason, None, next_at, self.failures + 1, self.cseq)

    def _failing(self, code: int, reason: str, now_at: float, after: float | None) -> Standing:
        delay = backoff(self.failures, self.uniform())
        if after is not None:
            delay = max(delay, min(after, MAX_BACKOFF))
        return Standing("failing", code, reason, None, now_at + delay, self.failures + 1, self.cseq)


def backoff(failures: int, uniform: float) -> float:
    """Seconds until the next try after `failures` earlier ones: doubling, with floor, ceiling and jitter."""
    ceiling = min(MAX_BACKOFF, MIN_BACKOFF * 2.0 ** min(failures, 16))
    return ceiling * (0.75 + 0.25 * uniform)


def refresh_at(granted: float, now_at: float, uniform: float, longest: float = math.inf) -> float:
    """When to refresh a registration granted for so many seconds: early enough for retries, spread by `uniform`.

    The lead is 15 to 25 % of the grant, at least 2 s where the grant allows it and at most 600 s. However long the
    grant, it is verified within `longest` seconds.
    """
    lead = min(600.0, granted * (0.15 + 0.10 * uniform))
    lead = max(lead, min(2.0, granted / 2))
    return now_at + min(granted - lead, longest * (0.75 + 0.25 * uniform))


def granted_expires(response: Response, contact: str, asked: int) -> int:
    """Seconds that a 2xx grants our contact: its `expires` parameter, else the Expires header, else what was asked."""
    ours = Uri.parse(contact.encode())
    try:
        for shown in response.contacts:
            if shown.uri.user == ours.user:
                text = shown.params.get(b"expires")
                if text is not None and text.isdigit():
                    return int(text)
        if response.expires is not None:
            return response.expires
    except ParseError:
        return asked
    return asked


def minimum_expires(response: Response) -> int | None:
    """The Min-Expires of a 423, in seconds."""
    text = (response.first(b"min-expires") or b"").strip()
    return int(text) if text.isdigit() and len(text) < 10 else None


def retry_after(response: Response) -> float | None:
    """The Retry-After of an answer, in seconds (RFC 3261 §20.33)."""
    text = (response.first(b"retry-after") or b"").split(b";")[0].split(b"(")[0].strip()
    return float(text) if text.isdigit() and len(text) < 10 else None


def parsed_challenges(response: Response, name: bytes) -> list[Challenge]:
    """The challenges under one header name; what cannot be read is left out."""
    found = []
    for value in response.lines(name):
        try:
            found.append(Challenge.parse(value))
        except ParseError:
            continue
    return found
