-- Load to come: how many upper registrations are refreshed in each of the next hours (0: within the hour, or overdue).
SELECT CASE WHEN r.next_at <= c.now_at THEN 0 ELSE CAST(round((r.next_at - c.now_at) / 3600 - 0.5) AS INTEGER) END AS in_hours,
       count(*) AS refreshes
FROM upper_registrations r, clock c
WHERE r.next_at IS NOT NULL
GROUP BY 1
ORDER BY 1;
