"""Rows as the rest of the house sees them: frozen, text, times in UTC epoch seconds (None: never, or not known)."""

from __future__ import annotations

from dataclasses import dataclass

FLOW_NUMBER = ";reg-id="
"""What stands in an identity before the number of a device's second flow, third … (RFC 5626)."""


def device_of(identity: str) -> str:
    """The identity of a device, from that of one of its flows."""
    return identity.rpartition(FLOW_NUMBER)[0] if FLOW_NUMBER in identity else identity


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account at an upper server. `ha1`: its HA1s (`sbc.sip.digest.gathered`), clear text here and encrypted at
    rest; empty when none is known.

    `auth_username` is the name that they were made with; empty: the username itself. `state` is `active` or `banned`.
    """

    id: int = 0
    username: str
    domain: str
    upper: str
    realm: str = ""
    auth_username: str = ""
    ha1: str = ""
    state: str = "active"
    user_agent: str = ""
    created_at: float = 0.0
    last_seen_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One device of a user. `identity` names it among them; `flow` is the token of the flow on `node` it came by.

    `push`: a live or suspect token can wake it. `state` is `live` (the app registered; good until `expires_at`) or
    `push` (the app unregistered, or let it lapse, and is kept for its push token). `path`: the Path values of the
    proxies before it (RFC 3327), separated by commas. `q`: how much its user prefers it, 0 to 1 (RFC 3261 §20.10).
    """

    id: int = 0
    user_id: int = 0
    identity: str
    contact: str
    instance: str = ""
    reg_id: int | None = None
    transport: str = ""
    source: str = ""
    flow: str = ""
    node: str = ""
    user_agent: str = ""
    expires_at: float = 0.0
    call_id: str = ""
    cseq: int = 0
    push: bool = False
    path: str = ""
    state: str = "live"
    seen_at: float = 0.0
    q: float = 1.0

    @property
    def device(self) -> str:
        """The identity of the device, whichever of its flows this is."""
        return device_of(self.identity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A push token. `prid` is clear text here and encrypted at rest. `state` is `live`, `suspect` or `dead`.

    `wakes`: the last 16 times from push to REGISTER, five digits of milliseconds each, oldest first.
    """

    id: int = 0
    user_id: int = 0
    binding_id: int = 0
    provider: str
    param: str
    prid: str
    environment: str = ""
    kind: str = ""
    purr: str = ""
    state: str = "live"
    registered_at: float = 0.0
    pushed_at: float | None = None
    woke_at: float | None = None
    failures: int = 0
    last_error: str = ""
    wakes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpperRegistration:
    """A Contact of ours at an upper server. `next_at` is when it is refreshed next; None: the SBC does not keep it.

    `state` is `registered`, `failing`, `rejected`, `needs_wake` or `ended`. `binding_id` is set where each device is a
    Contact of its own. `call_id` and `cseq` are those of the SBC's own refreshes. `service_route`: the Service-Route
    values that the server gave, separated by commas (RFC 3608), `associated` its P-Associated-URI values, `gruus` the
    GRUUs of the Contact as parameters. `contact_params`: what names the device behind the Contact, where it is one of
    its own. `nonce`: one of the server's that may be used again.
    """

    id: int = 0
    user_id: int = 0
    binding_id: int | None = None
    upper: str
    contact: str
    state: str = "registered"
    call_id: str = ""
    cseq: int = 0
    last_code: int = 0
    last_reason: str = ""
    expires_at: float | None = None
    next_at: float | None = None
    failures: int = 0
    node: str = ""
    service_route: str = ""
    nonce: str = ""
    contact_params: str = ""
    associated: str = ""
    gruus: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A device and its tokens; dead ones are not among them."""

    binding: Binding
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A user and every device of it."""

    user: User
    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialog:
    """A dialog kept over a restart. `id` is the proxy's own key and `body` its own text; the rest is for people."""

    id: str
    call_id: str
    node: str
    body: str
    caller: str = ""
    callee: str = ""
    upper: str = ""
    started_at: float = 0.0
    changed_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One push that was tried. `type` is `call`, `chat`, `cancel`, `custom` or `refresh`; `latency` is in seconds."""

    id: int = 0
    call_id: str = ""
    type: str
    provider: str
    app: str
    user_id: int | None = None
    sent_at: float
    status: int = 0
    reason: str = ""
    outcome: str = ""
    latency: float | None = None
    woke_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A MESSAGE kept for a sleeping user. `state` is `waiting`, `delivered`, `failed` or `expired`."""

    id: int = 0
    user_id: int
    call_id: str = ""
    from_uri: str
    to_uri: str
    content_type: str = "text/plain"
    body: bytes = b""
    headers: str = ""
    received_at: float
    expires_at: float | None = None
    delivered_at: float | None = None
    state: str = "waiting"
    tries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    """A source (address or network) that is not answered until `expires_at` (None: for ever)."""

    id: int = 0
    source: str
    reason: str = ""
    automatic: bool = True
    created_at: float = 0.0
    expires_at: float | None = None
    created_by: str = ""
