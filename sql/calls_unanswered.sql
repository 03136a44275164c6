-- Calls of the last day that nobody answered, by their final answer.
SELECT d.upper, d.code, d.reason, d.ended_by, count(*) AS calls
FROM cdrs d, clock c
WHERE d.answered_at IS NULL AND d.started_at > c.now_at - 86400
GROUP BY d.upper, d.code, d.reason, d.ended_by
ORDER BY calls DESC, d.upper, d.code;
