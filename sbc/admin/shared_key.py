"""Who may use the compatible API: a key in the address, or a digest that says it without showing it. Pure.

``authkey`` is the key of `admin.api_key`, or any API key of the node. ``authmd5`` is the hex MD5 of
``authid:KEY:authsalt:now``, where ``now`` is the sender's UTC epoch seconds: it is good once, and for a few minutes.
Keys in addresses end up in logs: the modern API takes them in a header.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from sbc.admin.access import Caller
from sbc.admin.keys import Keyring

WINDOW: Final = 300.0
"""Seconds that a sender's clock may be off, and that a digest is good for."""

REMEMBERED: Final = 10_000
"""Digests remembered, so that none is good twice: more than the API serves within the window."""

OFFERED: Final = ("authkey", "authmd5")
"""Parameters that show a key."""


class SharedKey:
    """The key of `admin.api_key` and its name `admin.api_id`; an empty key opens nothing."""

    def __init__(self) -> None:
        self.name = ""
        self.key = ""
        self._used: OrderedDict[str, float] = OrderedDict()

    def recognise(self, query: Mapping[str, str], keyring: Keyring, now_at: float) -> Caller | None:
        """Who sent this query; None: nobody we know."""
        if "authmd5" in query:
            return self._digest(query, now_at)
        offered = query.get("authkey", "")
        if self.key and hmac.compare_digest(self.key.encode(), offered.encode("utf-8", "surrogateescape")):
            return Caller(self.name or "api_key", "write")
        known = keyring.recognise(offered, now_at)
        return Caller(known.name, known.role) if known is not None else None

    def _digest(self, query: Mapping[str, str], now_at: float) -> Caller | None:
        name, salt, said = query.get("authid", ""), query.get("authsalt", ""), query.get("now", "")
        at = int(said) if said.isascii() and said.isdigit() and len(said) < 13 else 0
        expected = hashlib.md5(f"{name}:{self.key}:{salt}:{said}".encode("utf-8", "surrogateescape"))  # noqa: S324 - the old API's
        offered = query["authmd5"].strip().lower()
        right = hmac.compare_digest(expected.hexdigest().encode(), offered.encode("utf-8", "surrogateescape"))
        if not (right and self.key and salt and name == self.name and abs(now_at - at) <= WINDOW):
            return None
        while self._used and next(iter(self._used.values())) < now_at - 2 * WINDOW:
            self._used.popitem(last=False)
        if offered in self._used or len(self._used) >= REMEMBERED:
            return None
        self._used[offered] = now_at
        return Caller(self.name or "api_key", "write")
