-- CHANGES THE DATABASE. Has the SBC try dead tokens of one app again: for after a wrong key or environment made the
-- provider refuse good tokens. Put the app (bundle id, package, project) into the line with AS app.
BEGIN;
CREATE TEMPORARY TABLE given AS SELECT 'com.example.phone' AS app;
UPDATE bindings SET push = TRUE
WHERE id IN (SELECT t.binding_id FROM push_tokens t, given g WHERE t.state = 'dead' AND t.param = g.app);
UPDATE push_tokens SET state = 'suspect' WHERE state = 'dead' AND param = (SELECT app FROM given);
DROP TABLE given;
COMMIT;
