"""The routes of push: what the connections do, what pushes were worth, what is wrong; and the load of the node."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from twisted.internet.defer import Deferred

from sbc.admin.ports import Finding, Node
from sbc.admin.routes import Answer, Ask, Field, Refused, Route, as_json
from sbc.observe.load import WORDS
from sbc.observe.masking import masked
from sbc.push.habits import quantile
from sbc.push.tokens import PROVIDERS
from sbc.store.wakes import wakes

API: Final = "/api/v1"

DAYS: Final = 30
"""Days of pushes that the statistics look at unless asked otherwise."""

Row = tuple[str, str, str, str, float | None]


def push_routes(node: Node, utc: Callable[[], float] = time.time) -> tuple[Route, ...]:
    """The routes of a node."""

    def status(ask: Ask) -> Answer:
        return as_json(node.actions.push_status())

    def load(ask: Ask) -> Answer:
        level = node.actions.load()
        return as_json({"level": level, "word": WORDS[level]})

    def statistics(ask: Ask) -> Deferred[Answer]:
        since_at = utc() - 86_400.0 * float(ask.query.get("days", DAYS))
        reading = node.store.report(wakes(since_at))
        return reading.addCallback(lambda rows: as_json({"items": summed(rows), "next": None}))

    def doctor(ask: Ask) -> Deferred[Answer]:
        examining = node.actions.examine(ask.body["subject"], ask.caller.name)
        return examining.addCallback(_found)

    def reload(ask: Ask) -> Deferred[Answer]:
        anew = (ask.body["anew"],) if ask.body.get("anew") else ()
        told = node.actions.reload_push(ask.caller.name, anew)
        return told.addCallback(lambda lines: as_json({"lines": list(lines)}))

    def unregister(ask: Ask) -> Deferred[Answer]:
        def ended(count: int) -> Answer:
            if not count:
                raise Refused(404, "this user is registered at no upper server")
            return as_json({"ended": count})

        return node.actions.unregister_upper(ask.body["user"], ask.caller.name).addCallback(ended)

    user = Field("user", "text", "name, or name@domain", required=True, most=255)
    subject = Field("subject", "text", "a user (name, or name@domain), or an app's id", required=True, most=255)
    days = Field("days", "integer", f"of the last so many days, {DAYS} when not given", least=1, most=3650)
    anew = Field("anew", "text", "the provider to which all connections are made anew", words=PROVIDERS)
    anything = {"type": "object"}
    return (
        Route("GET", f"{API}/push/status", "push_status", "Connections, apps, problems of push", status, tag="pushes",
              answer=anything),
        Route("GET", f"{API}/push/wakes", "push_wakes", "How many phones woke, and how fast, by app, provider and"
              " User-Agent", statistics, tag="pushes", query=(days,), answer=anything),
        Route("POST", f"{API}/push/doctor", "push_doctor", "What keeps a user or an app from being woken", doctor,
              need="write", tag="pushes", body=(subject,), answer=anything),
        Route("POST", f"{API}/push/reload", "push_reload", "Read credentials and templates again", reload,
              need="write", tag="pushes", body=(anew,), answer=anything),
        Route("POST", f"{API}/push/unregister", "unregister_upper", "End a user's registrations at the upper servers",
              unregister, need="write", tag="registrations", body=(user,), answer=anything),
        Route("GET", f"{API}/load", "load", "How busy the node is: 0 low to 4 extreme", load, tag="node",
              answer=anything),
    )  # fmt: skip


def summed(rows: Iterable[Row]) -> list[dict[str, object]]:
    """One line for each app, provider and User-Agent: pushes, accepted, woke, the share that woke (of the accepted),
    and the middle and 95th percentile of their seconds."""
    groups: dict[tuple[str, str, str], list[tuple[str, float | None]]] = {}
    for app, provider, agent, outcome, after in rows:
        groups.setdefault((app, provider, agent), []).append((outcome, after))
    lines = []
    for (app, provider, agent), pushes in sorted(groups.items()):
        accepted = sum(outcome == "accepted" for outcome, _ in pushes)
        times = sorted(after for _, after in pushes if after is not None)
        lines.append(
            {
                "app": masked(app),
                "provider": provider,
                "user_agent": masked(agent),
                "pushes": len(pushes),
                "accepted": accepted,
                "woke": len(times),
                "share": round(len(times) / accepted, 3) if accepted else None,
                "median": round(quantile(times, 0.5), 3) if times else None,
                "p95": round(quantile(times, 0.95), 3) if times else None,
            }
        )
    return lines


def _found(findings: Sequence[Finding]) -> Answer:
    items = [{"level": one.level, "text": masked(one.text), "advice": one.advice} for one in findings]
    return as_json({"items": items, "next": None})
