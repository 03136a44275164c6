-- What happened in one call, in seconds from its beginning. Put its Call-ID into the second line.
WITH given AS (SELECT 'CALL-ID' AS call_id)
SELECT e.at - (SELECT min(first.at) FROM call_events first WHERE first.call_id = g.call_id) AS seconds, e.kind, e.detail
FROM call_events e, given g
WHERE e.call_id = g.call_id
ORDER BY e.at, e.id;
