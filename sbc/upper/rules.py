"""Routing rules: where a request outside dialogs goes, told by who calls whom, from where and when. Pure.

The first rule that fits decides: it refuses the request, or names the servers that may take it, the first of them that
can; and it may write the names of caller and called anew. Where none fits, the servers of the called domain take it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeVar

from sbc.upper.patterns import CALLED, CALLER, Matched, Pattern, check_rewrite, listed, rewritten

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
OUT, IN, ANY = "out", "in", "any"
MAX_RULES = 10_000
"""Rules at most: each one is looked at for each call, at about a microsecond."""

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A request to be routed: users and domain as text, `source` an IP address; `direction` as in `Ask`."""

    method: str
    caller: str
    called: str
    domain: str
    source: str
    direction: str = OUT


@dataclass(frozen=True, slots=True)
class Ask:
    """What is known of a request. `direction` is `out` (to an upper server) or `in` (from one, to a user of ours);
    `weekday` counts from Monday, 0, `minute` from midnight, both in the node's local time."""

    method: str
    caller: str
    called: str
    domain: str
    source: str
    direction: str
    weekday: int
    minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. Empty conditions fit everything. `uppers` are names of servers in the order in which they are tried,
    none: those of the called domain; `reject` is a status, or 0."""

    name: str
    direction: str = OUT
    methods: frozenset[str] = frozenset()
    callers: tuple[Pattern, ...] = ()
    called: tuple[Pattern, ...] = ()
    domains: tuple[Pattern, ...] = ()
    sources: tuple[Network, ...] = ()
    days: frozenset[int] = frozenset()
    hours: tuple[int, int] | None = None
    uppers: tuple[str, ...] = ()
    rewrite: str = ""
    rewrite_caller: str = ""
    reject: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one rule: it fits, or `why` it does not. `captures`: what its patterns caught of either name."""

    rule: Rule
    fits: bool
    why: str
    captures: tuple[str, ...] = ()
    caller_captures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rules say: the rule that decided, or None; the names of called and caller as they are from here on."""

    rule: Rule | None
    called: str
    caller: str

    @property
    def reject(self) -> int:
        """The status to refuse with, or 0."""
        return self.rule.reject if self.rule is not None else 0


def decide(rules: Iterable[Rule], ask: Ask) -> Decision:
    """The first rule that fits."""
    for rule in rules:
        tried = fit(rule, ask)
        if tried.fits:
            return _decided(tried, ask)
    return Decision(None, ask.called, ask.caller)


def _decided(tried: Tried, ask: Ask) -> Decision:
    rule = tried.rule
    if not rule.rewrite and not rule.rewrite_caller:
        return Decision(rule, ask.called, ask.caller)
    matched = {CALLED: Matched(ask.called, tried.captures), CALLER: Matched(ask.caller, tried.caller_captures)}
    return Decision(
        rule,
        rewritten(rule.rewrite, CALLED, matched) if rule.rewrite else ask.called,
        rewritten(rule.rewrite_caller, CALLER, matched) if rule.rewrite_caller else ask.caller,
    )


def explain(rules: Iterable[Rule], ask: Ask) -> list[Tried]:
    """Every rule, and why it fits or not; the first that fits decides."""
    return [fit(rule, ask) for rule in rules]


def fit(rule: Rule, ask: Ask) -> Tried:
    """Whether a rule fits; the first condition that fails says why not."""
    if rule.direction not in (ANY, ask.direction):
        return Tried(rule, False, f"direction {ask.direction}")
    if rule.methods and ask.method not in rule.methods:
        return Tried(rule, False, f"method {ask.method}")
    callers = _match(rule.callers, ask.caller) if rule.callers else ()
    if callers is None:
        return Tried(rule, False, f"caller {ask.caller}")
    if rule.domains and _match(rule.domains, ask.domain) is None:
        return Tried(rule, False, f"domain {ask.domain}")
    if rule.sources and not _within(rule.sources, ask.source):
        return Tried(rule, False, f"source {ask.source}")
    if not _now(rule, ask):
        return Tried(rule, False, f"time {DAYS[ask.weekday]} {ask.minute // 60:02}:{ask.minute % 60:02}")
    called = _match(rule.called, ask.called) if rule.called else ()
    if called is None:
        return Tried(rule, False, f"called {ask.called}")
    return Tried(rule, True, "", called, callers)


def _match(patterns: tuple[Pattern, ...], text: str) -> tuple[str, ...] | None:
    for pattern in patterns:
        found = pattern.match(text)
        if found is not None:
            return found
    return None


def _within(networks: tuple[Network, ...], source: str) -> bool:
    try:
        address = ip_address(source)
    except ValueError:
        return False
    return any(address in network for network in networks)


def _now(rule: Rule, ask: Ask) -> bool:
    """Whether the time fits. Hours over midnight belong to the day on which they begin."""
    weekday, minute = ask.weekday, ask.minute
    if rule.hours is not None:
        first, last = rule.hours
        if first <= last:
            if not first <= minute < last:
                return False
        elif minute < last:
            weekday = (weekday - 1) % 7
        elif minute < first:
            return False
    return not rule.days or weekday in rule.days


# Reading

Given = Mapping[str, Sequence[str] | str | int]
T = TypeVar("T")


def read_rule(given: Given) -> Rule:
    """A rule from texts: a `[[route]]` entry, or a row of `routes`. Lists may be one text with commas.

    Raises `RuleError` for the first thing that is wrong.
    """
    called, callers = _each(given, CALLED, Pattern.read, listed), _each(given, CALLER, Pattern.read, listed)
    patterns = {CALLED: called, CALLER: callers}
    rewrites = {CALLED: str(given.get("rewrite") or ""), CALLER: str(given.get("rewrite_caller") or "")}
    for key, own in (("rewrite", CALLED), ("rewrite_caller", CALLER)):
        _read(key, lambda text, own=own: check_rewrite(text, own, patterns), rewrites[own])  # type: ignore[misc]
    reject, uppers = int(given.get("reject") or 0), _texts(given, "upper")  # type: ignore[arg-type]
    if reject and not 300 <= reject <= 699:
        raise RuleError("reject", "must be a status from 300 to 699")
    direction = str(given.get("direction") or OUT)
    if direction not in (OUT, IN, ANY):
        raise RuleError("direction", "must be out, in or any")
    if direction != OUT and (uppers or rewrites[CALLED]):
        raise RuleError("direction", "what comes in goes to its user: such a rule can only reject, or rewrite_caller")
    changed = bool(rewrites[CALLED] or rewrites[CALLER])
    if bool(reject) == (bool(uppers) or changed):
        raise RuleError("upper", "either this, or a rewrite, or reject says what becomes of the request")
    return Rule(
        name=str(given.get("name") or ""),
        direction=direction,
        methods=frozenset(each.upper() for each in _texts(given, "method")),
        callers=callers,
        called=called,
        domains=_each(given, "domain", Pattern.read, listed),
        sources=_each(given, "source", lambda text: ip_network(text, strict=False)),
        days=frozenset(day for days in _each(given, "days", read_days) for day in days),
        hours=_read("hours", read_hours, str(given.get("hours") or "")),
        uppers=uppers,
        rewrite=rewrites[CALLED],
        rewrite_caller=rewrites[CALLER],
        reject=reject,
        reason=str(given.get("reason") or ""),
    )


class RuleError(ValueError):
    """A rule that cannot be read: at `key`, `what` is wrong."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(f"{key}: {what}")
        self.key = key
        self.what = what


def read_days(text: str) -> tuple[int, ...]:
    """`mon`, or `mon-fri`, also over the end of the week."""
    first, dash, last = (part.strip().lower()[:3] for part in text.partition("-"))
    if first not in DAYS or (dash and last not in DAYS):
        raise ValueError("must be days like mon-fri")
    start, end = DAYS.index(first), DAYS.index(last) if dash else DAYS.index(first)
    return tuple((start + step) % 7 for step in range((end - start) % 7 + 1))


def read_when(text: str) -> tuple[int, int]:
    """`fri 23:15` as weekday and minute."""
    day, _, minute = text.strip().partition(" ")
    return read_days(day)[0], _minute(minute)


def read_hours(text: str) -> tuple[int, int] | None:
    """`08:00-18:00` as minutes of the day, the second one excluded; also over midnight. None: at any time."""
    if not text.strip():
        return None
    ends = [_minute(part) for part in text.split("-")]
    if len(ends) != 2:
        raise ValueError("must be hours like 08:00-18:00")
    return ends[0], ends[1]


def _minute(text: str) -> int:
    hour, _, minute = text.strip().partition(":")
    if not (hour.isdigit() and minute.isdigit() and int(hour) <= 24 and int(minute) < 60):
        raise ValueError("must be hours like 08:00-18:00")
    return int(hour) * 60 + int(minute)


def _parted(text: str) -> list[str]:
    return text.split(",")


def _texts(given: Given, key: str, part: Callable[[str], list[str]] = _parted) -> tuple[str, ...]:
    value = given.get(key) or ()
    parts = part(value) if isinstance(value, str) else value if isinstance(value, Sequence) else ()
    return tuple(text.strip() for text in parts if text.strip())


def _each(
    given: Given, key: str, read: Callable[[str], T], part: Callable[[str], list[str]] = _parted
) -> tuple[T, ...]:
    return tuple(_read(key, read, text) for text in _texts(given, key, part))


def _read(key: str, read: Callable[[str], T], text: str) -> T:
    try:
        return read(text)
    except ValueError as mistake:
        raise RuleError(key, f"{text!r} {mistake}") from None
