"""Settings of the registrar."""

from __future__ import annotations

from dataclasses import dataclass

from sbc.settings import Duration, Flag, Integer, Words, section, setting


@section("registrar", doc="Registrations of phones here, and of ours at the upper servers")
@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrarSettings:
    """The `[registrar]` section."""

    mode: str = setting(
        "aor",
        Words({"aor": None, "mirror": None}),
        doc="what the upper server sees: aor, one contact for all devices of a user (the SBC forks); "
        "mirror, each device as a contact of its own",
    )
    refresh_rate: int = setting(
        200,
        Integer(1, 100_000),
        doc="upper refreshes started per second at most (a challenged retry does not count again)",
    )
    udp_awake: float = setting(
        60.0,
        Duration(),
        doc="a UDP flow counts as awake this long after its last packet; a stream while it is open and answers pings",
    )
    flow_timer: float = setting(
        120.0,
        Duration(),
        doc="in which time a phone with outbound (RFC 5626) is told to send its next keep-alive; over UDP 25 s; "
        "0: it is told nothing",
    )
    first_hop: str = setting(
        "lenient",
        Words({"strict": None, "lenient": None}),
        doc="a phone that wants outbound and comes through a proxy that does not offer it: lenient, it is registered "
        "without at once, for not every phone tries again; strict, it hears 439 (RFC 5626 6)",
    )
    answer_locally: bool = setting(
        False,
        Flag(),
        doc="a phone that registers again between two refreshes at the upper server is answered here, after the SBC "
        "has asked for its digest itself; where an HA1 is stored",
    )
    prefer_md5_auth: bool = setting(
        False,
        Flag(),
        doc="answer the upper server's challenges from the HA1 that the app sent, instead of forwarding them to it",
        aliases=("prefermd5auth",),
    )
    rebuild_interval: float = setting(
        3600.0,
        Duration(),
        doc="how often every upper registration is verified, however long its grant; 0: only before it expires",
        aliases=("rebuildregclients",),
    )
