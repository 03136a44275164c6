-- CHANGES THE DATABASE. Has the SBC try every failing or rejected upper registration again, spread over 10 minutes:
-- for after an outage or a mistake at the upper server.
UPDATE upper_registrations
SET next_at = (SELECT now_at FROM clock) + user_id % 600, failures = 0, state = 'failing'
WHERE state IN ('failing', 'rejected');
