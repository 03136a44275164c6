"""Which servers take a request, in which order: rules, then health, quality, priority and weight.

Holds what the pure modules need: the rules of the moment, the figures, the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sbc.upper import rules as rulebook
from sbc.upper.order import drawn, ordered
from sbc.upper.quality import Figures, Quality, destination, outcome
from sbc.upper.rules import Ask, Inquiry, Rule, Tried
from sbc.upper.servers import UpperServer, UpperServers
from sbc.upper.watch import Watch

When = tuple[int, int]
"""A local time: the weekday, from Monday, 0, and the minute of the day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The settings: `lookup` is `auto`, `no`, `fallback` or `always`; `quality`: whether figures count."""

    lookup: str
    for_register: bool
    quality: bool
    window: float
    local_calls: str
    local_fallback: bool


@dataclass(frozen=True, slots=True)
class Routed:
    """Where a request goes: `servers`, best first, or `reject` with a status. `called` is the name it has from here on,
    `caller` that of its sender, empty where that stays; `rule` the name of the rule that decided."""

    servers: tuple[UpperServer, ...]
    called: str
    reject: int = 0
    reason: str = ""
    rule: str = ""
    caller: str = ""


@dataclass(frozen=True, slots=True)
class Scored:
    """One server in a dry run: its place counts from 1. `demoted` says why, or nothing."""

    name: str
    place: int
    state: str
    priority: int
    weight: int
    lot: float
    figures: Figures
    demoted: str


@dataclass(frozen=True, slots=True)
class DryRun:
    """Everything that decides about a request, without sending it."""

    rules: tuple[Tried, ...]
    routed: Routed
    scores: tuple[Scored, ...]


class Router:
    """Routes requests. `clock` is monotonic seconds, `local` the node's local time."""

    def __init__(
        self,
        *,
        servers: UpperServers,
        watch: Watch,
        settings: Callable[[], Routing],
        clock: Callable[[], float],
        local: Callable[[], time.struct_time] = time.localtime,
    ) -> None:
        self.servers = servers
        self.watch = watch
        self.settings = settings
        self.rules: tuple[Rule, ...] = ()
        self.quality = Quality()
        self._clock = clock
        self._local = local

    def route(
        self, inquiry: Inquiry, server: UpperServer, key: str, *, probing: bool = True, when: When | None = None
    ) -> Routed:
        """Where it goes; `server` is one of the domain that it names, `key` what lots are drawn by (see `order`).

        `probing`: now and then a demoted server is tried first; `when`: as if it were that time, None: now.
        """
        decision = rulebook.decide(self.rules, self._ask(inquiry, when)) if self.rules else None
        if decision is None or decision.rule is None:
            return Routed(self._order(self.servers.fellows(server), inquiry.called, key, probing), inquiry.called)
        rule = decision.rule
        if rule.reject:
            return Routed((), decision.called, rule.reject, rule.reason, rule.name)
        caller = decision.caller if rule.rewrite_caller else ""
        if not rule.uppers:
            best = self._order(self.servers.fellows(server), decision.called, key, probing)
            return Routed(best, decision.called, rule=rule.name, caller=caller)
        named = [found for name in rule.uppers if (found := self.servers.get(name)) is not None]
        if not named:
            return Routed((), decision.called, 503, f"rule {rule.name} names no server that there is", rule.name)
        placed = [replace(each, priority=place) for place, each in enumerate(named)]
        best = self._order(placed, decision.called, key, probing)
        return Routed(tuple(named[each.priority] for each in best), decision.called, rule=rule.name, caller=caller)

    def registrars(self, server: UpperServer, username: str, domain: str, source: str = "") -> Routed:
        """The servers that may take a user's REGISTER."""
        key = f"{username}@{domain}"
        if self.settings().for_register:
            return self.route(Inquiry("REGISTER", username, username, domain, source), server, key)
        return Routed(self._order(self.servers.fellows(server), "", key, False), username)

    def arriving(self, inquiry: Inquiry, when: When | None = None) -> Routed | None:
        """What a rule says of a request that comes from an upper server: it refuses it, or gives it another caller."""
        if not self.rules:
            return None
        decision = rulebook.decide(self.rules, self._ask(inquiry, when))
        rule = decision.rule
        if rule is None:
            return None
        caller = decision.caller if rule.rewrite_caller else ""
        return Routed((), inquiry.called, rule.reject, rule.reason, rule.name, caller)

    def ended(self, server: UpperServer, called: str, status: int, delay: float | None) -> None:
        """A call through this server has its final response; it rang after `delay` seconds, or not at all."""
        if self.settings().quality:
            self.quality.window = self.settings().window
            self.quality.ended(server.name, destination(called), outcome(status), delay, self._clock())

    def dry_run(self, inquiry: Inquiry, server: UpperServer, key: str, when: When | None = None) -> DryRun:
        """What would become of a request, and why. Counts nothing."""
        if inquiry.direction == rulebook.IN:
            ruled = self.arriving(inquiry, when) or Routed((), inquiry.called)
            return DryRun(tuple(rulebook.explain(self.rules, self._ask(inquiry, when))), ruled, ())
        if inquiry.method == "REGISTER" and not self.settings().for_register:
            return self._scored((), self.registrars(server, inquiry.caller, inquiry.domain), key)
        tried = tuple(rulebook.explain(self.rules, self._ask(inquiry, when)))
        return self._scored(tried, self.route(inquiry, server, key, probing=False, when=when), key)

    def _scored(self, tried: tuple[Tried, ...], routed: Routed, key: str) -> DryRun:
        prefix, now = destination(routed.called), self._clock()
        demoted = self.quality.demoted([each.name for each in routed.servers], prefix, now)
        scores = tuple(
            Scored(
                each.name,
                place,
                self.watch.of(each).state,
                each.priority,
                each.weight,
                drawn(each.name, each.weight, key.encode()),
                self.quality.figures(each.name, prefix, now),
                demoted.get(each.name, "") if self.settings().quality else "",
            )
            for place, each in enumerate(routed.servers, 1)
        )
        return DryRun(tried, routed, scores)

    def _order(self, servers: Sequence[UpperServer], called: str, key: str, probing: bool) -> tuple[UpperServer, ...]:
        if len(servers) == 1:
            return tuple(servers)
        demoted: dict[str, str] = {}
        if self.settings().quality:
            prefix = destination(called)
            if not probing or not self.quality.probes(prefix):
                demoted = self.quality.demoted([each.name for each in servers], prefix, self._clock())
        return tuple(
            ordered(servers, key.encode(), down=self.watch.down, demoted=lambda server: server.name in demoted)
        )

    def _ask(self, inquiry: Inquiry, when: When | None = None) -> Ask:
        if when is None:
            local = self._local()
            when = local.tm_wday, local.tm_hour * 60 + local.tm_min
        return Ask(
            inquiry.method, inquiry.caller, inquiry.called, inquiry.domain, inquiry.source, inquiry.direction, *when
        )
