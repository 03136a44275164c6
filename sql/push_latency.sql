-- How long the providers took to accept a push, in milliseconds, over the last day.
SELECT p.provider, p.app, count(*) AS pushes, CAST(1000 * min(p.latency) AS INTEGER) AS quickest,
       CAST(1000 * avg(p.latency) AS INTEGER) AS average, CAST(1000 * max(p.latency) AS INTEGER) AS slowest
FROM pushes p, clock c
WHERE p.outcome = 'accepted' AND p.latency IS NOT NULL AND p.sent_at > c.now_at - 86400
GROUP BY p.provider, p.app
ORDER BY average DESC;
