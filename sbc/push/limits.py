"""How many pushes a minute one device gets, one caller causes, one app sends.  [pure]

Each number is also the burst: after a quiet minute all of a minute's pushes may go at once. Calls off (cancel) and what
an operator sends are not counted: the one undoes a push that was, the other is nobody's flood. Calls have a budget of
their own: no number of messages keeps a phone from ringing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from sbc.push.orders import PushOrder, PushType
from sbc.push.tokens import PushToken

MINUTE = 60.0

MAX_KEYS = 50_000
"""Devices, callers and apps remembered, about 200 bytes each; beyond it those pushed the longest ago are forgotten."""

COUNTED = frozenset((PushType.CALL, PushType.CHAT, PushType.REFRESH))

NOBODY = frozenset(("", "anonymous", "unknown", "unavailable", "restricted"))
"""User parts under which callers without a name all come: none of them is one caller."""

DEVICE, CALLER, APP = "device", "caller", "app"


class Limits:
    """See the module. *rates*: pushes a minute by ``device``, ``caller`` and ``app``; 0: any number."""

    def __init__(self, rates: Mapping[str, int]) -> None:
        self.rates = rates
        self._due: OrderedDict[tuple[str, bool, str, str], float] = OrderedDict()
        """Monotonic seconds at which all pushes so far would have gone out had they been spread evenly."""

    def __len__(self) -> int:
        return len(self._due)

    def refuses(self, order: PushOrder, token: PushToken, now: float) -> str:
        """Why this push may not go out just now, ``""`` when it may: then it is counted. *now*: monotonic seconds."""
        if order.type not in COUNTED:
            return ""
        keys = [key for key in self._keys(order, token) if self.rates[key[0]]]
        for key in keys:
            rate = self.rates[key[0]]
            if self._due.get(key, now) - now > MINUTE - MINUTE / rate:
                return f"more than {rate} pushes a minute for one {key[0]}"
        for key in keys:
            self._due[key] = max(self._due.get(key, now), now) + MINUTE / self.rates[key[0]]
            self._due.move_to_end(key)
            if len(self._due) > MAX_KEYS:
                self._due.popitem(last=False)
        return ""

    @staticmethod
    def _keys(order: PushOrder, token: PushToken) -> list[tuple[str, bool, str, str]]:
        call = order.type is PushType.CALL
        keys = [(DEVICE, call, token.provider, token.prid), (APP, call, token.provider, token.param)]
        if order.from_user.lower() not in NOBODY:
            keys.append((CALLER, call, "", (order.from_uri or order.from_user).lower()))
        return keys
