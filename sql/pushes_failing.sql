-- Pushes of the last day that no provider accepted, by app and reason.
SELECT p.app, p.provider, p.outcome, p.status, p.reason, count(*) AS pushes,
       CAST((c.now_at - max(p.sent_at)) / 60 AS INTEGER) AS minutes_since_last
FROM pushes p, clock c
WHERE p.outcome <> 'accepted' AND p.sent_at > c.now_at - 86400
GROUP BY p.app, p.provider, p.outcome, p.status, p.reason, c.now_at
ORDER BY pushes DESC, p.app;
