-- Users that a push can wake: one line a device, with the app and how long ago it registered.
SELECT u.username, u.domain, u.upper, t.provider, t.param AS app, t.state AS token,
       CAST((c.now_at - b.seen_at) / 60 AS INTEGER) AS minutes_since_register, u.user_agent
FROM clock c, users u
JOIN bindings b ON b.user_id = u.id
JOIN push_tokens t ON t.binding_id = b.id
WHERE t.state <> 'dead'
ORDER BY u.domain, u.username, t.provider;
