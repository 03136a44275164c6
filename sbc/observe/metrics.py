"""Counters, gauges and histograms of the product, cheap to count and typed for Prometheus.

Counting is one dict increment: a `Counter` is a table from label values to a number, and whoever counts per datagram
holds the table itself (``metrics.messages.values``) or calls `Metrics.count_message`. Gauges cost nothing until a
scrape: they are callables registered by name with `Metrics.watch`. Turning all this into text is `exposition`'s work.

Label values may be text, bytes or integers; they become text at the scrape. Values that a peer chooses freely must not
become labels as they are (every new value is a new time series): `count_message` folds unknown methods to ``other``,
and each family takes at most `SERIES_LIMIT` label sets.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

LabelValue: TypeAlias = str | bytes | int
Labels: TypeAlias = tuple[LabelValue, ...]
Reading: TypeAlias = float | Mapping[Labels, float]
"""What a gauge's source answers: one number for a family without labels, else a number per tuple of label values."""

SERIES_LIMIT: Final = 2000
"""Label sets per family; what comes new beyond it counts under ``other``. About 400 bytes each in RAM."""

METHODS: Final[dict[bytes, str]] = {
    name: name.decode()
    for name in (
        b"ACK", b"BYE", b"CANCEL", b"INFO", b"INVITE", b"MESSAGE", b"NOTIFY",
        b"OPTIONS", b"PRACK", b"PUBLISH", b"REFER", b"REGISTER", b"SUBSCRIBE", b"UPDATE",
    )
}  # fmt: skip
"""The methods that get a time series of their own; anything else a stranger sends is ``other``."""

PUSH_BUCKETS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Seconds from handing a push to the provider's connection until its answer."""

WAKE_BUCKETS: Final = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 40.0)
"""Seconds from the push until the phone registered; 40 s is the default cap of the wait."""

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its full name, its type, what it means, the names of its labels; bucket bounds for a histogram."""

    name: str
    kind: Kind
    doc: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


FAMILIES: Final = (
    Family(
        "sbc_sip_messages_total",
        "counter",
        "SIP messages by direction (in, out), method and transport; responses count under the method of their CSeq",
        ("direction", "method", "transport"),
    ),
    Family("sbc_sip_responses_total", "counter", "SIP responses sent and received, by status code", ("code",)),
    Family(
        "sbc_sip_refused_total", "counter", "Datagrams and streams dropped before they became a message", ("reason",)
    ),
    Family("sbc_transactions", "gauge", "SIP transactions alive"),
    Family("sbc_flows", "gauge", "Open connections and UDP flows", ("transport",)),
    Family("sbc_calls", "gauge", "Calls alive, ringing and answered"),
    Family("sbc_calls_ended_total", "counter", "Calls that ended, by final status code (200: answered)", ("code",)),
    Family("sbc_bindings", "gauge", "Registered devices, by state", ("state",)),
    Family("sbc_upper_registrations", "gauge", "Registrations held at the upper servers", ("upper", "state")),
    Family("sbc_upper_up", "gauge", "Whether an upper server is fit to be used: 0 down, 1 up or not known", ("upper",)),
    Family("sbc_upper_round_trip_seconds", "gauge", "Round trip of OPTIONS to an upper server, smoothed", ("upper",)),
    Family(
        "sbc_pushes_total",
        "counter",
        "Pushes by provider (apns, fcm, webpush), type (call, chat, cancel, custom, refresh) and result",
        ("provider", "type", "result"),
    ),
    Family(
        "sbc_push_failures_total",
        "counter",
        "Pushes that were not accepted, by provider, app and reason as the provider (or we) say it",
        ("provider", "app", "reason"),
    ),
    Family("sbc_push_retries_total", "counter", "Further tries of pushes after the first", ("provider",)),
    Family("sbc_push_dead_tokens_total", "counter", "Tokens that a provider called dead", ("provider",)),
    Family("sbc_push_suspended", "gauge", "1 for each app that is left alone after failures", ("provider", "app")),
    Family("sbc_push_waiting", "gauge", "Pushes that wait for a connection", ("server",)),
    Family("sbc_push_certificate_days", "gauge", "Days until an app's certificate ends; negative afterwards", ("app",)),
    Family(
        "sbc_push_seconds",
        "histogram",
        "Seconds from sending a push until the provider's answer",
        buckets=PUSH_BUCKETS,
    ),
    Family(
        "sbc_wake_seconds",
        "histogram",
        "Seconds from a push until the woken phone registered",
        buckets=WAKE_BUCKETS,
    ),
    Family("sbc_waiting_requests", "gauge", "Requests held while a phone is being woken"),
    Family("sbc_relay_packets_total", "counter", "Media packets relayed"),
    Family("sbc_relay_pinned", "gauge", "Streams that the kernel forwards, each direction by itself"),
    Family("sbc_relay_ports_exhausted_total", "counter", "Offers refused because no media port was free"),
    Family("sbc_relay_streams", "gauge", "Media streams being relayed", ("engine",)),
    Family("sbc_bans", "gauge", "Sources banned at this moment"),
    Family("sbc_event_loop_lag_seconds", "gauge", "Longest delay of the event loop seen in the last ten seconds"),
    Family("sbc_load", "gauge", "How busy the node is: 0 low to 4 extreme"),
    Family("sbc_call_log_dropped_total", "counter", "Timeline entries and CDRs lost to a limit or a failed write"),
    Family("sbc_metric_errors_total", "counter", "Gauges whose source failed at a scrape", ("metric",)),
)


class Counter:
    """A family that only grows: ``values[labels] += 1`` with labels in the family's order, () when it has none.

    `values` may be incremented directly where the label values are known to be few; `add` guards `SERIES_LIMIT`.
    """

    __slots__ = ("family", "values")

    def __init__(self, family: Family) -> None:
        self.family = family
        self.values: dict[Labels, float] = {} if family.labels else {(): 0}

    def add(self, *labels: LabelValue, by: float = 1) -> None:
        """Count `by` more under these label values."""
        values = self.values
        if labels in values:
            values[labels] += by
            return
        if len(labels) != len(self.family.labels):
            raise ValueError(f"{self.family.name} has labels {self.family.labels}, got {labels!r}")
        if len(values) >= SERIES_LIMIT:
            labels = ("other",) * len(labels)
        values[labels] = values.get(labels, 0) + by


class Histogram:
    """Observations sorted into fixed buckets; `counts` has one more place than `bounds`, for what exceeds them all."""

    __slots__ = ("bounds", "counts", "family", "total")

    def __init__(self, family: Family) -> None:
        self.family = family
        self.bounds = family.buckets
        self.counts = [0] * (len(family.buckets) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation, in the unit of the family's name."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Metrics:
    """All families of one node. Known ones are attributes; a room may `declare` more of its own.

    >>> metrics = Metrics()
    >>> metrics.pushes.add("apns", "call", "accepted")
    >>> metrics.watch("sbc_calls", lambda: 3)
    """

    def __init__(self, families: tuple[Family, ...] = FAMILIES) -> None:
        self.families: dict[str, Family] = {}
        self.counters: dict[str, Counter] = {}
        self.histograms: dict[str, Histogram] = {}
        self.sources: dict[str, Callable[[], Reading]] = {}
        for family in families:
            self.declare(family)
        self.messages = self.counters["sbc_sip_messages_total"]
        self.responses = self.counters["sbc_sip_responses_total"]
        self.refused = self.counters["sbc_sip_refused_total"]
        self.calls_ended = self.counters["sbc_calls_ended_total"]
        self.pushes = self.counters["sbc_pushes_total"]
        self.push_failures = self.counters["sbc_push_failures_total"]
        self.push_retries = self.counters["sbc_push_retries_total"]
        self.push_dead_tokens = self.counters["sbc_push_dead_tokens_total"]
        self.relay_packets = self.counters["sbc_relay_packets_total"]
        self.call_log_dropped = self.counters["sbc_call_log_dropped_total"]
        self.errors = self.counters["sbc_metric_errors_total"]
        self.push_seconds = self.histograms["sbc_push_seconds"]
        self.wake_seconds = self.histograms["sbc_wake_seconds"]

    def declare(self, family: Family) -> None:
        """Make a family known. Counters and histograms can be counted from now on; a gauge waits for `watch`."""
        if family.name in self.families:
            raise ValueError(f"metric {family.name} is declared twice")
        if (family.kind == "counter") != family.name.endswith("_total"):
            raise ValueError(f"metric {family.name}: counters, and only they, end in _total")
        self.families[family.name] = family
        if family.kind == "counter":
            self.counters[family.name] = Counter(family)
        elif family.kind == "histogram":
            self.histograms[family.name] = Histogram(family)

    def watch(self, name: str, source: Callable[[], Reading]) -> None:
        """From now on the value of gauge (or counter) `name` is what `source()` answers at each scrape.

        `source` runs in the reactor thread and must answer at once; what needs a database query goes through `sampled`.
        A counter may be watched too, where somebody else keeps the sum (the kernel's packet counters). The last call
        wins.
        """
        if self.families[name].kind == "histogram":
            raise ValueError(f"{name} is a histogram: observe it")
        self.sources[name] = source

    def count_message(self, direction: Literal["in", "out"], method: bytes, transport: bytes) -> None:
        """One SIP message came in or went out: the per-datagram path."""
        labels = (direction, METHODS.get(method, "other"), transport)
        values = self.messages.values
        values[labels] = values.get(labels, 0) + 1

    def count_response(self, code: int) -> None:
        """One SIP response with this status code (100 … 699) came in or went out."""
        values = self.responses.values
        labels = (code,)
        values[labels] = values.get(labels, 0) + 1
