"""Settings of the proxy that no other section holds."""

from __future__ import annotations

from dataclasses import dataclass

from sbc.settings import Duration, Flag, Integer, List, Text, Words, section, setting


@section("proxy", doc="Held requests and dialogs")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """The `[proxy]` section."""

    transactions: int = setting(
        100_000,
        Integer(100, 10_000_000),
        doc="SIP transactions alive at once; beyond it requests get 503",
        restart=True,
    )
    mask_call_id: bool = setting(
        False,
        Flag(),
        doc="each side has a Call-ID of its own; what names a dialog (Replaces, Refer-To, dialog-info) is translated",
    )
    fork: str = setting(
        "q",
        Words({"q": None, "parallel": None}),
        doc="how the devices of a user ring: q, those that registered with the highest q first (RFC 3261 16.6), all of "
        "equal q or without one together; parallel, all together whatever their q",
    )
    ring_time: float = setting(
        30.0, Duration(1.0), doc="how long devices ring before those of a lower q do, when nobody answers or refuses"
    )
    strip_headers: tuple[str, ...] = setting((), List(Text(required=True)), doc="headers that never cross the SBC")
    allow_headers: tuple[str, ...] = setting(
        (), List(Text(required=True)), doc="if any are named, only these cross, and those that SIP itself needs"
    )
    store_messages: bool = setting(
        True,
        Flag(),
        doc="a MESSAGE for a push device that does not wake is answered 202 and delivered at the next REGISTER",
    )
    max_wait_message: float = setting(
        20.0, Duration(), doc="how long a MESSAGE is held for a sleeping phone; its sender gives up after 32 s"
    )
