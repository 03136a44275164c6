-- Who is banned, why, by whom, and for how many more minutes (empty: until somebody lifts it).
SELECT b.source, b.reason, b.automatic, b.created_by, CAST((b.expires_at - c.now_at) / 60 AS INTEGER) AS minutes_left
FROM bans b, clock c
WHERE b.expires_at IS NULL OR b.expires_at > c.now_at
ORDER BY b.created_at DESC;
