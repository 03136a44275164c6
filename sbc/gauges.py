"""The gauges of one node: what is read when somebody asks for the metrics."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sbc.observe.metrics import Reading

if TYPE_CHECKING:
    from sbc.assembly import Sbc


def watch(sbc: Sbc) -> None:
    """Name each gauge and where it is read."""
    watched, engine = sbc.metrics.watch, sbc.engine
    watched("sbc_transactions", lambda: len(sbc.driver.table))
    watched("sbc_calls", lambda: len(sbc.call_log))
    watched("sbc_waiting_requests", lambda: len(sbc.calls.waiting))
    watched("sbc_bans", lambda: len(sbc.guard.bans))
    watched("sbc_event_loop_lag_seconds", sbc.lag.worst)
    watched("sbc_load", sbc.load)
    watched("sbc_bindings", sbc.counted.bindings)
    watched("sbc_upper_registrations", sbc.counted.registrations)
    watched("sbc_call_log_dropped_total", lambda: sbc.call_log.dropped)
    watched("sbc_flows", lambda: flows(sbc))
    watched("sbc_push_certificate_days", lambda: {(app,): days for app, days in sbc.push.expiries().items()})
    watched("sbc_push_suspended", lambda: {(provider, app): 1.0 for provider, app, _ in sbc.push.open_breakers()})
    watched("sbc_push_waiting", lambda: waiting_pushes(sbc))
    watched("sbc_relay_packets_total", lambda: engine.packets)
    watched("sbc_relay_pinned", lambda: engine.pinned)
    watched("sbc_relay_ports_exhausted_total", lambda: engine.exhausted)
    watched("sbc_relay_streams", lambda: {(engine.name,): engine.streams})


def waiting_pushes(sbc: Sbc) -> Reading:
    """Pushes that wait for a connection, by server."""
    waiting: Counter[str] = Counter()
    for row in sbc.push.status():
        waiting[str(row["server"])] += int(str(row["waiting"]))
    return {(server,): float(count) for server, count in waiting.items()}


def flows(sbc: Sbc) -> Reading:
    """Connections held, by transport."""
    held = Counter(connection.listener.transport for connection in sbc.transports.connections.all)
    return {(transport,): float(count) for transport, count in held.items()}
