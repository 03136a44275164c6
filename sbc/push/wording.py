"""The value of every template keyword for one push.  [pure]"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from sbc.push.orders import PushOrder, PushType
from sbc.push.settings import PushSettings
from sbc.push.tokens import PushToken

# Characters of one value before it is escaped; no provider takes more than 5,120 bytes in all.
MAX_VALUE = 6000

# What the user reads where the order says nothing: title, body. {} is the caller's display name or user name.
TEXTS: Mapping[PushType, tuple[str, str]] = {
    PushType.CALL: ("Call from {}", "Incoming VoIP call from {}"),
    PushType.CHAT: ("Message from {}", "New message from {}"),
    PushType.CANCEL: ("Missed call from {}", "Missed VoIP call from {}"),
    PushType.CUSTOM: ("Notification", "Notification from {}"),
    PushType.REFRESH: ("Registration", "Registration refresh"),
}
# The message itself is what the user reads.
_SPOKEN = frozenset((PushType.CHAT, PushType.CUSTOM))
# High priority shows the user something at once. Google lowers it for apps that use it for anything else.
URGENT = frozenset((PushType.CALL, PushType.CHAT, PushType.CUSTOM))


def collapse_id(call_id: str) -> str:
    """The same short name for all pushes about one call, ``""`` without a call."""
    return hashlib.sha256(call_id.encode("utf-8", "replace")).hexdigest()[:32] if call_id else ""


def sound(settings: PushSettings, order: PushOrder) -> str:
    if order.sound:
        return order.sound
    if order.type is PushType.CALL:
        return settings.sound_call
    return settings.sound_chat if order.type is PushType.CHAT else settings.sound_other


def push_type(order: PushOrder, settings: PushSettings) -> str:
    """The keyword PUSHTYPE where no provider of ours decides by the token."""
    return settings.apns_push_type or "voip" if order.type is PushType.CALL else "alert"


def keywords(
    order: PushOrder, token: PushToken, settings: PushSettings, *, push_id: str, push_type: str, ttl: int
) -> dict[str, str]:
    """Every keyword of ``templates.KEYWORDS``. *push_type*: ``apns-push-type``; *ttl*: seconds."""
    call = order.type is PushType.CALL
    pressing = order.pressing
    caller = order.from_display or order.from_user or order.from_uri or "unknown"
    title, body = TEXTS[order.type]
    title = order.title or title.format(caller)
    body = order.body or (order.message if order.type in _SPOKEN else "") or body.format(caller)
    values = {
        "PACKAGE": token.param,
        "TOKEN": token.prid,
        "TO": order.to_uri or order.to_user,
        "TOUSERNAME": order.to_user,
        "TYPE": str(int(order.type)),
        "FROM": order.from_uri or order.from_user,
        "FROMUSERNAME": order.from_user,
        "FROMDISPLAYNAME": order.from_display,
        "CALLID": order.call_id,
        "COLLAPSEID": collapse_id(order.call_id),
        "PRIORITY": "high" if pressing or order.type in URGENT else "normal",
        "NPRIORITY": "PRIORITY_MAX" if call else "PRIORITY_HIGH",
        "APRIORITY": "10" if pressing else "5",
        "TTLNUM": str(ttl),
        "PUSHTYPE": push_type,
        "PUSHID": push_id,
        "SOUND": sound(settings, order),
        "MSG": order.message or body,
        "MESSAGE": order.message or body,
        "TITLE": title,
        "BODY": body,
    }
    return {name: value if len(value) <= MAX_VALUE else value[:MAX_VALUE] for name, value in values.items()}
