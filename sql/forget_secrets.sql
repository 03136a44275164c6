-- CHANGES THE DATABASE. Removes everything that is encrypted: for when secret.key is lost for good. Stop the SBC first.
-- Users keep their devices; each is woken and refreshed again from its app's next REGISTER on.
BEGIN;
UPDATE users SET ha1 = NULL, more_ha1 = NULL WHERE ha1 IS NOT NULL;
DELETE FROM push_tokens;
COMMIT;
