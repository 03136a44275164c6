"""What a daemon is asked, and what its answers mean.  [pure]

Each leg is a call of the daemon's by the leg's key; the tags of its parties are `a` and `b`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sbc.media.crossing import treat
from sbc.media.engine import Direction, Offer, Side, Statistics, StreamStatistics, other
from sbc.media.interwork import profile
from sbc.media.protection import Mode, Protection, read
from sbc.media.sdp import Session, literal
from sbc.sip.errors import RemoteError

#: A request or a reply.
Command = dict[str, Any]

_ICE = {"web": "force"}
#: What a refusal of the daemon means to the party; else 488.
_REFUSALS = ((b"ran out of ports", 503), (b"load limit", 503), (b"maximum", 503), (b"unknown call", 481))
#: A daemon reads the interface to use from these words, if it has several.
_FAMILIES = {4: "IP4", 6: "IP6"}


def protection(session: Session) -> Protection:
    """How the first usable line of a description is protected: a daemon is told one way for all lines."""
    usable = [media for media in session.media if media.port and media.rtp] or list(session.media)
    return read(session, usable[0]) if usable else Protection("other", b"")


def offer(key: str, offer: Offer, was: Protection, mode: Mode | None) -> Command:
    """The request for an offer of a party protected as `was`, to one that is to be as `mode` (None: alike)."""
    command = _common(key, offer.session, offer.source, offer.toward)
    command |= {"command": "offer", "from-tag": offer.from_, "to-tag": other(offer.from_)}
    if mode is not None:
        command["transport-protocol"] = profile(mode, was.mode, was.protocol).decode("ascii")
    wanted = mode or was.mode
    command["ICE"] = _ICE.get(wanted, "remove")
    command["rtcp-mux"] = ["offer"] if wanted in ("web", "dtls") else ["demux"]
    if wanted == "sdes":
        command["SDES"] = ["pad"]
    if was.mode in ("dtls", "web"):
        # Else the daemon begins the handshake before the party has the answer, which then fails for good.
        command["DTLS-reverse"] = "passive"
    return command


def answer(key: str, session: Session, from_: Side, source: str, toward: str, asked: Protection) -> Command:
    """The request for an answer of `from_`; `asked`: how the party that offered is protected."""
    command = _common(key, session, source, toward)
    command |= {"command": "answer", "from-tag": other(from_), "to-tag": from_}
    command["ICE"] = _ICE.get(asked.mode, "remove")
    if asked.mode in ("web", "dtls"):
        command["DTLS"] = "passive"
        command["transport-protocol"] = asked.protocol.decode("ascii")
    return command


def towards(was: Protection, wanted: str, established: Mode | None) -> Mode | None:
    """How the receiver of an offer is to be protected; None: as its sender. See `crossing.treat`."""
    return treat(was.mode, wanted, established)


def query(key: str) -> Command:
    """What is known of a leg."""
    return {"command": "query", "call-id": key}


def delete(key: str) -> Command:
    """End a leg at once: without a tag nothing would be told of it."""
    return {"command": "delete", "call-id": key, "from-tag": "a", "delete-delay": 0}


def refusal(reply: Command) -> RemoteError:
    """What a daemon's error means."""
    why = bytes(reply.get("error-reason", b""))
    status = next((status for words, status in _REFUSALS if words in why.lower()), 488)
    return RemoteError(status, b"Media Refused" if status == 488 else b"Media Relay Is Full")


def statistics(reply: Command) -> Statistics:
    """The counts in a reply to `query` or `delete`."""
    tags = reply.get("tags") or {}
    media: dict[Side, list[Command]] = {side: list((tags.get(side) or {}).get("medias") or ()) for side in ("a", "b")}
    sources = reply.get("SSRC") or {}
    streams = []
    for place in range(max(map(len, media.values()))):
        sides = {side: each[place] if place < len(each) else {} for side, each in media.items()}
        kind = bytes(sides["a"].get("type") or sides["b"].get("type") or b"").decode("ascii", "replace")
        directions = {side: _direction(each, sources) for side, each in sides.items()}
        streams.append(StreamStatistics(place, kind, directions["a"], directions["b"]))
    return Statistics(tuple(streams))


def heard(reply: Command) -> dict[Side, int]:
    """Packets received of each party so far, reports included."""
    counted = statistics(reply).streams
    return {
        "a": sum(each.from_a.packets + each.from_a.rtcp for each in counted),
        "b": sum(each.from_b.packets + each.from_b.rtcp for each in counted),
    }


def _common(key: str, session: Session, source: str, toward: str) -> Command:
    address = literal(toward)
    command: Command = {
        "call-id": key,
        "sdp": session.render(),
        "replace": ["origin", "session-connection"],
        "flags": ["trust-address", "strict-source"],
    }
    origin = literal(source)
    if origin is not None:
        command["received-from"] = [_FAMILIES[origin.version], source]
    if address is not None:
        command["address-family"] = _FAMILIES[address.version]
    return command


def _direction(media: Mapping[str, Any], sources: Mapping[str, Any]) -> Direction:
    rtp: Command = {}
    packets = reports = size = refused = 0
    for stream in media.get("streams") or ():
        counts = stream.get("stats") or {}
        if b"RTCP" in stream.get("flags", ()) and b"RTP" not in stream.get("flags", ()):
            reports += counts.get("packets", 0)
        else:
            rtp = stream
            packets += counts.get("packets", 0)
            size += counts.get("bytes", 0)
        refused += counts.get("errors", 0)
    lost, jitter = _reported(sources.get(str(rtp.get("SSRC"))) or {}, packets)
    return Direction(
        packets=packets, bytes=size, rtcp=reports, refused=refused, reported_lost=lost, reported_jitter=jitter
    )


def _reported(source: Mapping[str, Any], packets: int) -> tuple[int | None, float]:
    """Losses and jitter (seconds): a daemon knows them from the receivers' reports alone, loss in percent."""
    average = source.get("average MOS")
    if not average:
        return None, 0.0
    share = average.get("packet loss", 0) / 100
    lost = round(packets * share / (1 - share)) if 0 <= share < 1 else 0
    return lost, average.get("jitter", 0) / 1000
