-- Calls of the last day by the hour (0: the last 60 minutes).
SELECT CAST(round((c.now_at - d.started_at) / 3600 - 0.5) AS INTEGER) AS hours_ago, count(*) AS calls,
       count(d.answered_at) AS answered, sum(CASE WHEN d.pushed THEN 1 ELSE 0 END) AS pushed
FROM cdrs d, clock c
WHERE d.started_at > c.now_at - 86400
GROUP BY 1
ORDER BY 1;
