"""What call records say of a stream.  [pure]"""

from __future__ import annotations

from sbc.media.engine import Direction, StreamStatistics


def told(stream: StreamStatistics) -> str:
    """One line; of counts that are zero on both sides nothing is said."""
    a, b = stream.from_a, stream.from_b
    parts = [f"{stream.kind}: from the caller {_packets(a)}, from the callee {_packets(b)}"]
    if a.jitter or b.jitter:
        parts.append(f"jitter {_ms(a.jitter)} and {_ms(b.jitter)} ms")
    parts += [f"the {who} reports {text}" for who, text in (("callee", _reported(a)), ("caller", _reported(b))) if text]
    for name in ("refused", "foreign", "undelivered"):
        counts = getattr(a, name), getattr(b, name)
        if any(counts):
            parts.append(f"{name} {counts[0]} and {counts[1]}")
    return "; ".join(parts)


def _packets(direction: Direction) -> str:
    return f"{direction.packets} packets ({direction.lost} lost)"


def _reported(direction: Direction) -> str:
    """What the receiver of these packets says."""
    if direction.reported_lost is None:
        return ""
    return f"{direction.reported_lost} lost, jitter {_ms(direction.reported_jitter)} ms"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"
