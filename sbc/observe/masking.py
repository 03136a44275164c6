"""Secrets out of text: what a log line, a timeline or a trace may show.

Masked: credentials (Authorization, Proxy-Authorization, X-PIID, HA1, passwords, API keys), push tokens (X-MPUSH,
pn-prid, pn-tok, push-token-id, provider paths, and the keys pn-auth and pn-p256dh of Web Push), and media keys (SDES,
ICE passwords). Everything that names a party, a server or a reason stays, so that a trace is still worth reading.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

MASK: Final = "***"

KNOWN_LINE: Final = 120
"""Characters of a line that `printable` remembers: timelines say the same of every call."""

KNOWN_LINES: Final = 2_048
"""Lines that it remembers, about 1 MB."""

_HEADERS: Final = re.compile(
    r"\b((?:proxy-)?authorization|x-piid|x-mpush)([ \t]{0,64}:[ \t]{0,64})([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)",
    re.IGNORECASE,
)
"""A header by name up to the end of its (folded) line, wherever in the text it stands."""

_PARAMETERS: Final = re.compile(
    r"\b(pn-prid|pn-tok|pn-auth|pn-p256dh|push-token-id)(\s{0,8}=\s{0,8})(\"[^\"\r\n]*\"?|'[^'\r\n]*'?|[^\s;>,\"']+)",
    re.IGNORECASE,
)
"""A push token as URI or header parameter. ``&`` and ``:`` belong to the value: APNs may have two tokens in one."""

_NAMED: Final = re.compile(
    r"\b(ha1|password|passwd|secret|private_key|authkey|authmd5|to_token|token|prid|x-piid|auth_secret|api_key)"
    r"([\"']?\s{0,8}[=:]\s{0,8})(\"[^\"\r\n]*\"?|'[^'\r\n]*'?|[^\s&;,>\"'{}\[\]]+)",
    re.IGNORECASE,
)
"""``name=value``, ``name: value`` and ``"name": "value"`` in log lines, queries and JSON."""

_PATHS: Final = re.compile(
    r"(/3/device/|/fcm/send/|/wpush/v\d/|\bBearer {1,8}|\binline:|\bice-pwd:)[^\s\"'<>|;,]+", re.IGNORECASE
)
"""Where a token or a key follows a fixed beginning: APNs and Web Push addresses, bearer keys, SDES and ICE in SDP."""

_MARKERS: Final = (
    "authorization", "x-piid", "x-mpush", "pn-", "token", "ha1", "passw", "secret", "_key", "authkey", "authmd5",
    "prid", "/3/device/", "/fcm/send/", "/wpush/", "bearer", "inline:", "ice-pwd:",
)  # fmt: skip
"""One of these is in every text that needs masking (lower case): most log lines pass with a few substring searches."""

_SCHEMES: Final = ("digest", "bearer", "basic")


def _header(match: re.Match[str]) -> str:
    name, colon, value = match.groups()
    lower = name.lower()
    if lower == "x-mpush":
        return name + colon + _mpush(value)
    if lower.endswith("authorization"):
        scheme = value.split(" ", 1)[0]
        if scheme.lower() in _SCHEMES:
            return f"{name}{colon}{scheme} {MASK}"
    return name + colon + MASK


def _mpush(value: str) -> str:
    """``[environment:]provider:package:token``: all but the token stays; ``null`` stays."""
    if value.strip().lower() == "null":
        return value
    parts = value.split(":")
    keep = 3 if parts[0].strip().lower() in ("s", "p", "d") else 2
    return ":".join((*parts[:keep], MASK)) if len(parts) > keep else MASK


def masked(text: str) -> str:
    """`text` with every secret it names replaced by ``***``; runs in time linear in its length."""
    if not _marked(text.lower()):
        return text
    text = _HEADERS.sub(_header, text)
    text = _PARAMETERS.sub(rf"\1\2{MASK}", text)
    text = _PATHS.sub(rf"\1{MASK}", text)
    return _NAMED.sub(_named, text)


def _marked(lower: str) -> bool:
    for marker in _MARKERS:  # noqa: SIM110 - any() costs three times as much, and this is asked per line of a timeline
        if marker in lower:
            return True
    return False


def _named(match: re.Match[str]) -> str:
    name, between, value = match.groups()
    quote = value[0] if value[0] in "\"'" else ""
    return f"{name}{between}{quote}{MASK}{quote}"


def masked_bytes(message: bytes) -> str:
    """A SIP message as text for human eyes: bytes that are not UTF-8 as ``\\xNN``, secrets masked."""
    return masked(message.decode("utf-8", "backslashreplace"))


def printable(text: str, limit: int) -> str:
    """`text` masked, on one line, without control characters, at most `limit` characters."""
    return _known_line(text, limit) if len(text) <= KNOWN_LINE else _line(text, limit)


def _line(text: str, limit: int) -> str:
    text = masked(text[: limit * 4])
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


_known_line = lru_cache(KNOWN_LINES)(_line)
