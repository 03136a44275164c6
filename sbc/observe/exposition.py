"""The Prometheus text of a node's metrics, made at each scrape from the tables in `metrics`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from sbc.observe.metrics import Family, Histogram, Labels, LabelValue, Metrics, Reading

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
"""What `Exposition.text` is."""


def _text(value: LabelValue) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def _samples(reading: Reading) -> Iterable[tuple[list[str], float]]:
    if not isinstance(reading, Mapping):
        return [([], reading)]
    merged: dict[Labels, float] = {}
    for labels, value in reading.items():
        words = tuple(_text(one) for one in labels)
        merged[words] = merged.get(words, 0) + value  # b"UDP" and "UDP" are one series
    return [([_text(word) for word in words], value) for words, value in merged.items()]


def _histogram(family: Family, histogram: Histogram) -> HistogramMetricFamily:
    buckets: list[tuple[str, float]] = []
    sum_so_far = 0
    for bound, count in zip((*histogram.bounds, None), histogram.counts, strict=True):
        sum_so_far += count
        buckets.append(("+Inf" if bound is None else repr(float(bound)), sum_so_far))
    return HistogramMetricFamily(family.name, family.doc, buckets=buckets, sum_value=histogram.total)


class Exposition(Collector):
    """`text()` is the body of ``/metrics``: the node's families and the process's own (memory, CPU, open files).

    A source that fails loses its family in this scrape, is counted in ``sbc_metric_errors_total`` and handed to
    `failed(name, error)`; the rest of the scrape stands.
    """

    def __init__(self, metrics: Metrics, failed: Callable[[str, Exception], None]) -> None:
        self._metrics = metrics
        self._failed = failed
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """The exposition, UTF-8, format 0.0.4."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are unique by `Metrics.declare`, and sources must not run at registration."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The families that have something to say, in the order of their declaration; a node's errors come last."""
        last: Family | None = None
        for family in self._metrics.families.values():
            if family.name == self._metrics.errors.family.name:
                last = family  # after all sources have run, so that this scrape already tells
                continue
            yield from self._collected(family)
        if last is not None:
            yield from self._collected(last)

    def _collected(self, family: Family) -> Iterable[Metric]:
        if family.kind == "histogram":
            yield _histogram(family, self._metrics.histograms[family.name])
            return
        source = self._metrics.sources.get(family.name)
        made: Metric
        try:
            if source is not None:
                samples = _samples(source())
            elif family.kind == "counter":
                samples = _samples(self._metrics.counters[family.name].values)
            else:
                return
            if family.kind == "counter":
                made = CounterMetricFamily(family.name, family.doc, labels=family.labels)
            else:
                made = GaugeMetricFamily(family.name, family.doc, labels=family.labels)
            for labels, value in samples:
                if len(labels) != len(family.labels):
                    raise ValueError(f"{family.name} has labels {family.labels}, its source said {labels}")
                made.add_metric(labels, float(value))
        except Exception as error:  # noqa: BLE001  one broken gauge must not blind the operator to all others
            self._metrics.errors.add(family.name)
            self._failed(family.name, error)
            return
        yield made
