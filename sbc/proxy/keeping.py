"""A dialog as text, for the store: what is needed to route its requests after a restart. Pure.

The push parameters that a phone puts into its Contact (RFC 8599 section 4.1) are not: tokens are kept encrypted, and
elsewhere. A phone knows itself by the rest of its URI.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sbc.proxy.dialog import Dialog, Leg, Side, Unfinished
from sbc.proxy.session_timer import GRACE
from sbc.proxy.story import Story
from sbc.push.dialects import stripped

VERSION = 1
"""Of the text's form; other forms are not read."""


_AS_JSON = json.JSONEncoder(separators=(",", ":")).encode

CSEQ_LEAP = 1_000
"""Added to the numbers of a dialog that is brought back: more requests than a party sends between two that are kept.
Who receives them takes gaps (RFC 3261 §12.2.2), but a BYE of ours must have a higher one than all before it."""

UNTIL_GRAIN = 60.0
"""Seconds to which the end of a subscription is kept: each NOTIFY puts it off a little."""


def written(dialog: Dialog, media: str | None, now: float, now_at: float) -> str:
    """The dialog as JSON text; `media` is the relay's own text for its leg, if it relays. Times become UTC."""
    leg = dialog.leg
    dead_at = None if dialog.dead_at is None else round(dialog.dead_at - now + now_at)
    until_at = None if leg.until is None else round((leg.until - now + now_at) / UNTIL_GRAIN) * UNTIL_GRAIN
    return _AS_JSON(
        {
            "version": VERSION,
            "token": _text(leg.token),
            "tag_a": _text(leg.tag),
            "tag_b": _text(dialog.tag),
            "from": _text(leg.from_),
            "to": _text(leg.to),
            **({} if not leg.shown_from else {"shown_from": _text(leg.shown_from)}),
            "cseq_a": dialog.cseq_a,
            "cseq_b": dialog.cseq_b,
            "a": _side(leg.a),
            "b": _side(dialog.b),
            "media": media,
            "dead_at": dead_at,
            "until_at": until_at,
            **({} if dialog.unfinished is None else {"unfinished": _asked(dialog.unfinished)}),
        }
    )


def restored(
    text: str, flow: Callable[[str], Any], story: Story, now: float, now_at: float
) -> tuple[Dialog, str | None]:
    """A dialog kept earlier, on a leg of its own, and the relay's text. `flow` finds a flow by its token, or None.

    A session timer that ran out meanwhile gets some time more: its refresh may have found nobody here. Raises
    ValueError for other text.
    """
    kept = json.loads(text)
    if not isinstance(kept, dict) or kept.get("version") != VERSION:
        raise ValueError("a dialog kept in another form")
    try:
        b = _restored_side(kept["b"], flow)
        leg = Leg(
            _bytes(kept["token"]),
            _bytes(kept["tag_a"]),
            _restored_side(kept["a"], flow),
            b,
            story,
            now,
            from_=_bytes(kept["from"]),
            to=_bytes(kept["to"]),
            cseq=int(kept["cseq_a"]) + CSEQ_LEAP,
            shown_from=_bytes(kept.get("shown_from", "")),
        )
        tag = _bytes(kept["tag_b"])
        dialog = Dialog(leg, tag, b, confirmed=True, cseq_a=leg.cseq, cseq_b=int(kept["cseq_b"]) + CSEQ_LEAP)
        dead_at, until_at = kept.get("dead_at"), kept.get("until_at")
        dialog.dead_at = None if dead_at is None else now + max(float(dead_at) - now_at, GRACE)
        leg.until = None if until_at is None else now + float(until_at) - now_at
        dialog.unfinished = _restored_asked(kept["unfinished"]) if "unfinished" in kept else None
    except (KeyError, TypeError) as problem:
        raise ValueError(f"a kept dialog lacks {problem}") from None
    leg.dialogs[tag] = dialog
    return dialog, kept.get("media")


def _asked(asked: Unfinished) -> dict[str, object]:
    vias = [_text(via) for via in asked.vias]
    return {"from_a": asked.from_a, "number": asked.number, "vias": vias, "offered": asked.offered}


def _restored_asked(kept: dict[str, Any]) -> Unfinished:
    vias = tuple(_bytes(via) for via in kept["vias"])
    return Unfinished(bool(kept["from_a"]), int(kept["number"]), vias, bool(kept["offered"]))


def _side(side: Side) -> dict[str, object]:
    return {
        "contact": _text(side.contact),
        "flow": side.hop.token if side.hop is not None else "",
        "target": _text(stripped(b"<%s>" % side.target)[1:-1]),
        "routes": [_text(route) for route in side.routes],
        "upper": side.upper,
        "address": side.address,
        "user": side.user,
        "call_id": _text(side.call_id),
        "device": side.device,
    }


def _restored_side(kept: dict[str, Any], flow: Callable[[str], Any]) -> Side:
    return Side(
        _bytes(kept["contact"]),
        flow(kept["flow"]) if kept["flow"] else None,
        _bytes(kept["target"]),
        tuple(_bytes(route) for route in kept["routes"]),
        kept["upper"],
        kept["address"],
        kept["user"],
        kept["device"],
        _bytes(kept["call_id"]),
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")
