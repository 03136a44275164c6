-- What was changed by hand in the last 7 days, newest first.
SELECT CAST((c.now_at - a.at) / 3600 AS INTEGER) AS hours_ago, a.who, a.source, a.action, a.subject, a.detail
FROM audit a, clock c
WHERE a.at > c.now_at - 7 * 86400
ORDER BY a.at DESC;
