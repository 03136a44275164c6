-- Users that exist at more than one upper server: after a move the older account can usually go.
SELECT username, domain, count(*) AS accounts, min(upper) AS one, max(upper) AS other
FROM users
GROUP BY username, domain
HAVING count(*) > 1
ORDER BY username, domain;
