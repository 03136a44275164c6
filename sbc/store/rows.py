"""From rows to records: which columns are read, in which order, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sbc.store.records import Binding, Subscriber, Target, Token, UpperRegistration, User
from sbc.store.secret import Secret

HA1 = "users.ha1"
MORE_HA1 = "users.more_ha1"
PRID = "push_tokens.prid"

USER = (
    "id", "username", "domain", "upper", "realm", "auth_username", "ha1", "more_ha1", "state", "user_agent",
    "created_at", "last_seen_at",
)  # fmt: skip
BINDING = (
    "id", "user_id", "identity", "contact", "instance", "reg_id", "transport", "source", "flow", "node", "user_agent",
    "expires_at", "call_id", "cseq", "push", "path", "state", "seen_at", "q",
)  # fmt: skip
TOKEN = (
    "id", "user_id", "binding_id", "provider", "param", "prid", "environment", "kind", "purr", "state", "registered_at",
    "pushed_at", "woke_at", "failures", "last_error", "wakes",
)  # fmt: skip
UPPER = (
    "id", "user_id", "binding_id", "upper", "contact", "state", "call_id", "cseq", "last_code", "last_reason",
    "expires_at", "next_at", "failures", "node", "service_route", "nonce",
    "contact_params", "associated", "gruus",
)  # fmt: skip

_TOKENS_AT = len(USER) + len(BINDING)


def columns(names: Sequence[str], table: str) -> str:
    """The column list of a SELECT."""
    return ", ".join(f"{table}.{name}" for name in names)


def user_of(row: Sequence[Any], secret: Secret) -> User:
    """A record of the columns USER."""
    values = dict(zip(USER, row, strict=True))
    sealed, more = values["ha1"], values.pop("more_ha1")
    values["ha1"] = secret.open(bytes(sealed), HA1) if sealed is not None else ""
    if more is not None and sealed is not None:
        values["ha1"] += "," + secret.open(bytes(more), MORE_HA1)
    return User(**values)


def sealed_ha1s(ha1s: str, secret: Secret) -> tuple[bytes | None, bytes | None]:
    """The columns `ha1` and `more_ha1`: the first HA1 and the others. What an app says each time, mostly the first
    alone, can so be compared inside a statement: one text is sealed as the same bytes each time."""
    first, _, more = ha1s.partition(",")
    return secret.seal(first, HA1) if first else None, secret.seal(more, MORE_HA1) if more else None


def binding_of(row: Sequence[Any]) -> Binding:
    """A record of the columns BINDING."""
    values = dict(zip(BINDING, row, strict=True))
    values["push"] = bool(values["push"])
    return Binding(**values)


def token_of(row: Sequence[Any], secret: Secret) -> Token:
    """A record of the columns TOKEN."""
    values = dict(zip(TOKEN, row, strict=True))
    values["prid"] = secret.open(bytes(values["prid"]), PRID)
    return Token(**values)


def upper_of(row: Sequence[Any]) -> UpperRegistration:
    """A record of the columns UPPER."""
    return UpperRegistration(**dict(zip(UPPER, row, strict=True)))


def subscriber_of(rows: Iterable[Sequence[Any]], secret: Secret) -> Subscriber | None:
    """One user from rows of USER, BINDING and TOKEN columns joined outward, ordered by binding; None without rows."""
    user: User | None = None
    targets: list[tuple[Binding, list[Token]]] = []
    for row in rows:
        if user is None:
            user = user_of(row[: len(USER)], secret)
        if row[len(USER)] is None:
            continue
        if not targets or targets[-1][0].id != row[len(USER)]:
            targets.append((binding_of(row[len(USER) : _TOKENS_AT]), []))
        if row[_TOKENS_AT] is not None:
            targets[-1][1].append(token_of(row[_TOKENS_AT:], secret))
    if user is None:
        return None
    return Subscriber(user, tuple(Target(binding, tuple(tokens)) for binding, tokens in targets))
