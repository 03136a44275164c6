-- Of the calls pushed in the last 7 days, how many phones woke, and how long that took; by app.
SELECT p.app, p.provider, count(*) AS pushed, count(p.woke_after) AS woke,
       CAST(100.0 * count(p.woke_after) / count(*) AS INTEGER) AS percent,
       min(p.woke_after) AS quickest, avg(p.woke_after) AS average, max(p.woke_after) AS slowest
FROM pushes p, clock c
WHERE p.type = 'call' AND p.sent_at > c.now_at - 7 * 86400
GROUP BY p.app, p.provider
ORDER BY percent, p.app;
