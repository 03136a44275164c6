-- Quality of the upper servers over the last day: answer ratio in percent, seconds until it rang and was answered.
SELECT d.upper, count(*) AS calls, CAST(100.0 * count(d.answered_at) / count(*) AS INTEGER) AS answered_percent,
       avg(d.ringing_at - d.started_at) AS seconds_to_ring, avg(d.answered_at - d.started_at) AS seconds_to_answer,
       sum(CASE WHEN d.code >= 500 AND d.code < 600 THEN 1 ELSE 0 END) AS server_failures
FROM cdrs d, clock c
WHERE d.started_at > c.now_at - 86400
GROUP BY d.upper
ORDER BY d.upper;
