-- CHANGES THE DATABASE. Moves every user of one upper server to another: put their names (as configured in [[upper]])
-- into the line with AS old_upper. When the SIP domain changes too, put the new one there, else leave it empty.
-- The SBC then registers the users at the new server by itself, spread over 10 minutes; users whose HA1 is not stored
-- (or belongs to another realm) follow with their next REGISTER. Users that exist at the new server already stay.
BEGIN;
CREATE TEMPORARY TABLE given AS SELECT 'old' AS old_upper, 'new' AS new_upper, '' AS new_domain;
CREATE TEMPORARY TABLE moved AS
SELECT u.id FROM users u, given g
WHERE u.upper = g.old_upper AND NOT EXISTS
  (SELECT 1 FROM users o WHERE o.upper = g.new_upper AND o.username = u.username
   AND o.domain = CASE WHEN g.new_domain = '' THEN u.domain ELSE g.new_domain END);
UPDATE users
SET upper = (SELECT new_upper FROM given),
    domain = CASE WHEN (SELECT new_domain FROM given) = '' THEN domain ELSE (SELECT new_domain FROM given) END
WHERE id IN (SELECT id FROM moved);
UPDATE upper_registrations
SET upper = (SELECT new_upper FROM given), state = 'failing', last_code = 0, last_reason = 'moved', failures = 0,
    next_at = (SELECT now_at FROM clock) + user_id % 600
WHERE user_id IN (SELECT id FROM moved) AND state <> 'ended';
DROP TABLE moved;
DROP TABLE given;
COMMIT;
