-- Users whose HA1 is not stored: the SBC cannot refresh them alone when the upper server asks for a password,
-- it must wake their phones for that.
SELECT u.username, u.domain, u.upper, u.user_agent, count(b.id) AS devices
FROM users u
LEFT JOIN bindings b ON b.user_id = u.id
WHERE u.ha1 IS NULL
GROUP BY u.id, u.username, u.domain, u.upper, u.user_agent
ORDER BY u.domain, u.username;
