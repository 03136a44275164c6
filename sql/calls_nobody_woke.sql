-- Calls of the last 7 days that were pushed and whose phone never woke: whom that happens to most.
SELECT d.callee, count(*) AS calls, CAST((c.now_at - max(d.started_at)) / 3600 AS INTEGER) AS hours_since_last
FROM cdrs d, clock c
WHERE d.pushed AND d.woke_after IS NULL AND d.answered_at IS NULL AND d.started_at > c.now_at - 7 * 86400
GROUP BY d.callee, c.now_at
ORDER BY calls DESC, d.callee
LIMIT 50;
