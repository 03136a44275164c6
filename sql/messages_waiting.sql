-- Messages that wait for their user to wake: how many, and how old the oldest is.
SELECT u.username, u.domain, count(*) AS messages, max(m.tries) AS tries,
       CAST((c.now_at - min(m.received_at)) / 60 AS INTEGER) AS oldest_minutes
FROM clock c, messages m
JOIN users u ON u.id = m.user_id
WHERE m.state = 'waiting'
GROUP BY u.id, u.username, u.domain, c.now_at
ORDER BY oldest_minutes DESC;
