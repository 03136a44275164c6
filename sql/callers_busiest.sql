-- Who called most in the last 7 days, and for how long.
SELECT d.caller, count(*) AS calls, count(d.answered_at) AS answered,
       CAST(sum(CASE WHEN d.answered_at IS NULL THEN 0 ELSE d.ended_at - d.answered_at END) / 60 AS INTEGER) AS minutes
FROM cdrs d, clock c
WHERE d.started_at > c.now_at - 7 * 86400
GROUP BY d.caller
ORDER BY calls DESC, d.caller
LIMIT 50;
