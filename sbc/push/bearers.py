"""Provider tokens for APNs, VAPID tokens for Web Push (signed here) and access tokens for FCM (fetched with a
signature).
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from google.auth import jwt

from sbc.push.exchange import LostError
from sbc.push.jose import sign_es256
from sbc.push.keys import ServiceAccount, TokenKey, VapidKey
from sbc.push.orders import Outcome
from sbc.push.wire import MAX_REASON, Answer, Post, Verdict, retry_after

# Seconds that an APNs provider token is used: Apple refuses it after 3,600, and new ones oftener than every 1,200.
APNS_LIFE = 45 * 60.0
APNS_MIN_LIFE = 20 * 60.0
# Seconds of a VAPID token (RFC 8292 allows 86,400), and how long before its end a new one is signed.
VAPID_LIFE = 12 * 3600.0
VAPID_SPARE = 3600.0
# VAPID tokens kept: one for each push service that browsers use, and not many more if somebody invents some.
MAX_VAPID = 500
# Seconds: an access token is fetched anew this long before its end, and asked for again this long after a failure.
ACCESS_SPARE = 300.0
ACCESS_RETRY = 5.0
ACCESS_LIFE = 3600.0
# Pushes that wait for one access token: as many as an origin's queue would take.
MAX_WAITERS = 2000
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"


class ProviderTokens:
    """One APNs provider token for each team and key, shared by all connections.  Times are UTC epoch seconds."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[float, bytes]] = {}

    def get(self, key: TokenKey, now_at: float) -> bytes:
        """The value of ``authorization``."""
        made_at, token = self._made.get(key.fingerprint, (0.0, b""))
        if not token or not 0 <= now_at - made_at < APNS_LIFE:
            claims = {"iss": key.team_id, "iat": int(now_at)}
            token = b"bearer " + sign_es256(key.key, {"kid": key.key_id}, claims)
            self._made[key.fingerprint] = (now_at, token)
        return token

    def renew(self, key: TokenKey, now_at: float) -> bool:
        """Forget the token, unless it is so young that Apple would refuse another; answer whether a new one follows."""
        made_at = self._made.get(key.fingerprint, (0.0, b""))[0]
        if 0 <= now_at - made_at < APNS_MIN_LIFE:
            return False
        self._made.pop(key.fingerprint, None)
        return True


class VapidTokens:
    """VAPID tokens (RFC 8292), one for each push service."""

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[str, str, str], tuple[float, bytes]] = OrderedDict()

    def get(self, key: VapidKey, origin: str, subject: str, now_at: float) -> bytes:
        """The value of ``authorization`` toward *origin* (scheme, host, port)."""
        place = (key.fingerprint, origin, subject)
        ends_at, value = self._made.get(place, (0.0, b""))
        if not VAPID_SPARE < ends_at - now_at <= VAPID_LIFE:
            ends_at = now_at + VAPID_LIFE
            claims: dict[str, object] = {"aud": origin, "exp": int(ends_at)}
            if subject:
                claims["sub"] = subject
            value = b"vapid t=" + sign_es256(key.key, {"typ": "JWT"}, claims) + b", k=" + key.public.encode()
            self._made[place] = (ends_at, value)
            if len(self._made) > MAX_VAPID:
                self._made.popitem(last=False)
        return value

    def renew(self, key: VapidKey, origin: str, subject: str) -> None:
        self._made.pop((key.fingerprint, origin, subject), None)


Send = Callable[[Post, Callable[[Answer | LostError], None]], None]
Waiter = Callable[[bytes, Verdict | None], None]

OAUTH_TEMPORARY = frozenset((408, 429))
"""Statuses below 500 by which an OAuth server means "not now" (RFC 6585, RFC 9110); all others speak of our account."""


class AccessToken:
    """The OAuth 2 access token of one service account (RFC 7523), fetched once for all who wait.

    *send* posts to the account's token address and reports once. While a new token is on its way the old one is
    served as long as it is valid.
    """

    def __init__(self, account: ServiceAccount, send: Send) -> None:
        self.account, self._send = account, send
        self._value = b""
        self._ends_at = 0.0
        self._not_before = 0.0
        self._fetching = False
        self._waiters: list[Waiter] = []
        self.trouble: Verdict | None = None

    def ready(self, now_at: float) -> bytes:
        """The value of ``authorization``, or empty when there is none just now; fetches ahead of time."""
        if now_at >= self._ends_at - ACCESS_SPARE and now_at >= self._not_before:
            self._fetch(now_at)
        return self._value if now_at < self._ends_at else b""

    def wait(self, now_at: float, waiter: Waiter) -> None:
        """Call *waiter* with (authorization, ``None``) or (empty, what came in its way); at once when just refused."""
        if not self._fetching and now_at < self._not_before:
            waiter(b"", self.trouble)
            return
        if len(self._waiters) >= MAX_WAITERS:
            waiter(b"", Verdict(Outcome.RETRY, "no access token: too many wait for it"))
            return
        self._waiters.append(waiter)
        self._fetch(now_at)

    def renew(self) -> None:
        """The provider does not take it any more."""
        self._ends_at = self._not_before = 0.0

    def _fetch(self, now_at: float) -> None:
        if self._fetching:
            return
        self._fetching = True
        account = self.account
        claims = {
            "iss": account.email,
            "scope": SCOPE,
            "aud": account.token_uri,
            "iat": int(now_at),
            "exp": int(now_at + ACCESS_LIFE),
        }
        assertion = jwt.encode(account.signer, claims)  # type: ignore[no-untyped-call]
        body = urlencode({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion.decode()})
        post = Post(
            (urlsplit(account.token_uri).path or "/").encode(),
            [(b"content-type", b"application/x-www-form-urlencoded")],
            body.encode(),
        )
        self._send(post, lambda answer: self._fetched(answer, now_at))

    def _fetched(self, answer: Answer | LostError, asked_at: float) -> None:
        self._fetching = False
        self.trouble = unauthorized(answer, asked_at)
        if isinstance(answer, Answer) and self.trouble is None:
            try:
                said = json.loads(answer.body)
                self._value = b"Bearer " + str(said["access_token"]).encode("ascii")
                # Counted from the question, so that the answer's way does not lengthen it.
                self._ends_at = asked_at + float(said.get("expires_in", ACCESS_LIFE))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                self.trouble = Verdict(Outcome.RETRY, f"no access token: {error}"[:MAX_REASON], again=True)
        if self.trouble is not None:
            self._not_before = asked_at + max(ACCESS_RETRY, self.trouble.retry_after or 0.0)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter(b"" if self.trouble is not None else self._value, self.trouble)


def unauthorized(answer: Answer | LostError, now_at: float) -> Verdict | None:
    """Why there is no access token (RFC 6749 section 5.2); ``None``: there is one.

    Silence and the server's own trouble pass; a refused assertion (key withdrawn, account gone, clock wrong) lasts
    until the operator acts.
    """
    if isinstance(answer, LostError):
        return Verdict(Outcome.RETRY, f"no access token: {answer.reason}", again=True)
    if answer.status == 200:
        return None
    text = ""
    try:
        said = json.loads(answer.body)
        text = str(said.get("error_description") or said.get("error") or "")
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    reason = f"no access token: HTTP {answer.status} {text}".strip()[:MAX_REASON]
    if answer.status >= 500 or answer.status in OAUTH_TEMPORARY:
        return Verdict(Outcome.RETRY, reason, again=True, retry_after=retry_after(answer.headers, now_at))
    return Verdict(Outcome.CONFIG_ERROR, reason, blame_app=True)
