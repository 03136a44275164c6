"""What the product tells about itself: metrics, log, call timelines, CDRs, SIP trace, event-loop lag.

In: counts, gauges' sources, things that happened to a call, SIP messages while a trace is on. Out: the Prometheus
text of ``/metrics``, rows for `cdrs` and `call_events` through a writer handed in, log lines as text or JSON, trace
entries with the secrets masked.

Read first `metrics` (the list of families and what costs what), then `calllog` (one call, one timeline, one CDR; its
words are in `kinds`). Pure: `metrics`, `kinds`, `calllog`, `trace`, `masking`. Thin edges: `exposition`
(prometheus_client), `lag` and `sampled` (timers), `log` (twisted.logger). Settings are the section ``[log]``.
"""
