-- Push tokens that the provider called dead, and why. Their users are not woken until the app registers again.
SELECT u.username, u.domain, t.provider, t.param AS app, t.environment, t.failures, t.last_error,
       CAST((c.now_at - t.registered_at) / 86400 AS INTEGER) AS days_since_register
FROM clock c, push_tokens t
JOIN users u ON u.id = t.user_id
WHERE t.state = 'dead'
ORDER BY t.provider, t.param, u.username;
