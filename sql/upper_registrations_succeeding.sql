-- Upper registrations that work: how long they still last and when the SBC refreshes them.
SELECT u.username, u.domain, r.upper, r.node,
       CAST((r.expires_at - c.now_at) / 60 AS INTEGER) AS minutes_left,
       CAST((r.next_at - c.now_at) / 60 AS INTEGER) AS minutes_to_refresh
FROM clock c, upper_registrations r
JOIN users u ON u.id = r.user_id
WHERE r.state = 'registered'
ORDER BY r.expires_at;
