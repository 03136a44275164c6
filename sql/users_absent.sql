-- Users without any sign of life for more than 30 days. Another number of days: change it in the second line.
WITH given AS (SELECT 30 AS days)
SELECT u.username, u.domain, u.upper, CAST((c.now_at - u.last_seen_at) / 86400 AS INTEGER) AS days_absent, u.user_agent
FROM users u, clock c, given g
WHERE u.last_seen_at < c.now_at - g.days * 86400
ORDER BY u.last_seen_at;
