"""A leg as text, so that calls outlive a restart.

What is kept: the ports, what each carries, and the latches. Not kept: counts, and which media lines were rejected. Keys
are for the memory of the process that signals, so that its next media process can go on with them; what outlives that
process on a disk says of a leg with lines that are decrypted here only that.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sbc.media.end import OTHER, RTCP, RTP, SECURED, End
from sbc.media.engine import Side
from sbc.media.forward import Forwarder
from sbc.media.latch import Memory
from sbc.media.leg import SIDES, Channel, Leg

#: Changes when older text cannot be read any more.
VERSION = 1

#: Stands for a leg whose keys were the relay's.
ENCRYPTED = '{"encrypted":true}'

_CARRIED = frozenset({RTP, RTCP, SECURED, OTHER})


@dataclass(frozen=True, slots=True)
class ChannelMemory:
    """One media line: its even ports, latches (RTP, RTCP) and clock rates by side."""

    index: int
    kind: str
    carries: tuple[str, str]
    ports: dict[Side, int]
    latches: dict[Side, tuple[Memory, Memory]]
    clocks: dict[Side, dict[int, int]]

    def recall(self, channel: Channel, forwarder: Forwarder) -> None:
        """Set the latches and clock rates of a channel opened on these ports."""
        for side in SIDES:
            for end, latch in zip((channel.rtp[side], channel.rtcp[side]), self.latches[side], strict=True):
                forwarder.recall(end, latch)
            channel.rtp[side].reception.describe(self.clocks[side])


@dataclass(frozen=True, slots=True)
class LegMemory:
    """A leg. `keys`: what `Negotiation.recall` takes; None when nothing is decrypted here."""

    addresses: dict[Side, str]
    held: dict[Side, bool]
    channels: list[ChannelMemory]
    answered: bool
    keys: dict[str, Any] | None


def write(leg: Leg, *, keys: bool = False) -> str:
    """JSON; a few hundred bytes for a call with one stream, some thousand with `keys`."""
    crossed = None
    if leg.negotiation.crossed:
        crossed = leg.negotiation.memory() if keys else None
        if crossed is None:
            return ENCRYPTED
    channels = [
        {
            "index": index,
            "kind": channel.kind,
            "carries": [channel.rtp["a"].carries, channel.rtcp["a"].carries],
            **{side: _side(channel.rtp[side], channel.rtcp[side]) for side in SIDES},
        }
        for index, channel in leg.channels.items()
    ]
    whole = {"version": VERSION, "addresses": leg.addresses, "held": leg.held, "channels": channels}
    if not leg.answered:
        whole["answered"] = False
    if crossed is not None:
        whole["keys"] = crossed
    return json.dumps(whole, separators=(",", ":"))


def read(text: str) -> LegMemory | None:
    """The leg that `write` wrote; None for anything else."""
    try:
        whole = json.loads(text)
        if whole["version"] != VERSION:
            return None
        addresses: dict[Side, str] = {side: str(whole["addresses"][side]) for side in SIDES}
        held: dict[Side, bool] = {side: bool(whole["held"].get(side)) for side in SIDES}
        channels = [_channel(each) for each in whole["channels"]]
        return LegMemory(addresses, held, channels, bool(whole.get("answered", True)), whole.get("keys"))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None


def encrypted(text: str) -> bool:
    """Whether it stands for a leg whose keys were the relay's."""
    return _whole(text).get("encrypted") is True


def place(text: str, worker: int) -> str:
    """The same, of a leg in this one of several media processes."""
    return json.dumps({**_whole(text), "worker": worker}, separators=(",", ":"))


def worker_of(text: str) -> int:
    """The number that `place` wrote, else 0."""
    worker = _whole(text).get("worker")
    return worker if isinstance(worker, int) else 0


def ports_of(text: str) -> list[int]:
    """The even ports of a leg."""
    memory = read(text)
    return [] if memory is None else [port for each in memory.channels for port in each.ports.values()]


def _whole(text: str) -> dict[str, Any]:
    try:
        whole = json.loads(text)
    except ValueError:
        return {}
    return whole if isinstance(whole, dict) else {}


def _side(rtp: End, rtcp: End) -> dict[str, Any]:
    return {"port": rtp.port, "rtp": rtp.memory, "rtcp": rtcp.memory, "clocks": dict(rtp.reception.clocks)}


def _channel(raw: dict[str, Any]) -> ChannelMemory:
    first, second = raw["carries"]
    if not {first, second} <= _CARRIED:
        raise ValueError("unknown kind of port")
    sides: dict[Side, dict[str, Any]] = {side: raw[side] for side in SIDES}
    return ChannelMemory(
        index=int(raw["index"]),
        kind=str(raw["kind"]),
        carries=(first, second),
        ports={side: int(each["port"]) for side, each in sides.items()},
        latches={side: (_memory(each["rtp"]), _memory(each["rtcp"])) for side, each in sides.items()},
        clocks={side: {int(kind): int(rate) for kind, rate in each["clocks"].items()} for side, each in sides.items()},
    )


def _memory(raw: list[Any]) -> Memory:
    described, signalled, heard, muted = raw
    return Memory(
        None if described is None else (str(described[0]), int(described[1])),
        str(signalled),
        None if heard is None else (str(heard[0]), *(int(number) for number in heard[1:])),
        bool(muted),
    )
