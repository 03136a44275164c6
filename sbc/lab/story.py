"""The story of a demonstration, line by line with times, and the SBC's own version of it.

In: what happened, the SBC's database and metrics. Out: lines on standard output.
"""

from __future__ import annotations

from collections.abc import Callable

from sbc.lab.border import Border

WIDTH = 8  # characters of the actor's name
EVENTS = ("invite", "push_sent", "push_accepted", "woken", "delivered", "answered", "ended")  # each must be told
METRICS = ("sbc_pushes_total", "sbc_wake_seconds_count", "sbc_wake_seconds_sum", "sbc_relay_packets_total")


class Story:
    """Tells it. `say` is an aside, `did` a step that happened."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self.steps = 0

    def say(self, who: str, what: str) -> None:
        """An aside."""
        self._line(" ", who, what)

    def did(self, who: str, what: str) -> None:
        """A step that happened."""
        self.steps += 1
        self._line("✓", who, what)

    def failed(self, why: str) -> None:
        """The end, a bad one."""
        self._line("✗", "demo", why)

    def finished(self) -> None:
        """The end, a good one."""
        self._line("✓", "demo", f"all {self.steps} steps happened; nothing is left behind")

    def _line(self, mark: str, who: str, what: str) -> None:
        print(f"{self._clock() - self._began:7.3f} s {mark} {who:<{WIDTH}} {what}", flush=True)

    def events(self, border: Border, call_id: str = "%") -> set[str]:
        """Print the SBC's timeline, of one call or of all; the kinds of events it tells."""
        rows = border.rows("SELECT at, kind, detail FROM call_events WHERE call_id LIKE ? ORDER BY at, id", (call_id,))
        self.say("SBC", "its own story (call_events):")
        began = rows[0]["at"] if rows else 0.0
        for row in rows:
            print(f"           {row['at'] - began:+8.3f} s  {row['kind']:<14} {row['detail']}")
        return {row["kind"] for row in rows}


def tell_sbc(story: Story, border: Border, call_id: str, metrics: str) -> list[str]:
    """Print the SBC's timeline and record of one call and some metrics; what is missing of it."""
    told = story.events(border, call_id)
    cdr = next(iter(border.rows("SELECT * FROM cdrs WHERE call_id = ? ORDER BY id", (call_id,))), None)
    missing = [kind for kind in EVENTS if kind not in told]
    if cdr is None:
        missing.append("a CDR")
    else:
        words = f"{cdr['caller']} → {cdr['callee']} by {cdr['upper']}: {cdr['code']} {cdr['reason']}"
        story.say("SBC", f"its call record (cdrs): {words}, ended by {cdr['ended_by']}")
        times = ("ringing_at", "answered_at", "ended_at")
        missing += [f"cdrs.{name}" for name in times if cdr[name] is None]
        if cdr["woke_after"] is None or not cdr["pushed"]:
            missing.append("cdrs.woke_after")
        elif cdr["answered_at"] is not None:
            setup = cdr["answered_at"] - cdr["started_at"]
            story.say("SBC", f"push to registration {cdr['woke_after']:.3f} s, INVITE to answer {setup:.3f} s")
    for line in metrics.splitlines():
        if line.startswith(METRICS) and not line.endswith(" 0.0"):
            story.say("SBC", line)
    return missing
