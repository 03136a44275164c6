-- Upper registrations that fail: what the upper server said, how often in a row, and when the SBC tries again
-- (empty: not before the app registers again).
SELECT u.username, u.domain, r.upper, r.state, r.last_code, r.last_reason, r.failures,
       CAST((r.next_at - c.now_at) / 60 AS INTEGER) AS minutes_to_retry
FROM clock c, upper_registrations r
JOIN users u ON u.id = r.user_id
WHERE r.state IN ('failing', 'rejected', 'needs_wake')
ORDER BY r.failures DESC, u.domain, u.username;
