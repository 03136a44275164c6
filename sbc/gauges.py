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
    watched("sbc_relay_packets_total", lambda: engine.packets)
    watched("sbc_relay_streams", lambda: {(engine.name,): engine.streams})


def flows(sbc: Sbc) -> Reading:
    """Connections held, by transport."""
    held = Counter(connection.listener.transport for connection in sbc.transports.connections.all)
    return {(transport,): float(count) for transport, count in held.items()}
