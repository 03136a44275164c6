-- Calls of the last day of whose media more than two percent were lost on the way to the SBC, or jittered by more than 30 ms.
SELECT d.call_id, d.caller, d.callee, d.started_at,
       d.caller_packets, d.caller_lost, 1000.0 * d.caller_jitter AS caller_jitter_ms,
       d.callee_packets, d.callee_lost, 1000.0 * d.callee_jitter AS callee_jitter_ms
FROM cdrs d, clock c
WHERE d.started_at > c.now_at - 86400
  AND (50 * d.caller_lost > d.caller_packets + d.caller_lost OR 50 * d.callee_lost > d.callee_packets + d.callee_lost
       OR d.caller_jitter > 0.03 OR d.callee_jitter > 0.03)
ORDER BY d.started_at DESC;
