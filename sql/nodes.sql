-- The nodes that share this database, and when each was last heard of.
SELECT n.name, n.address, n.state, n.load, CAST(c.now_at - n.seen_at AS INTEGER) AS seconds_ago,
       (SELECT count(*) FROM dialogs d WHERE d.node = n.name) AS dialogs
FROM nodes n, clock c
ORDER BY n.name;
