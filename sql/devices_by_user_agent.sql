-- What phones there are, and how many of each have push.
SELECT user_agent, count(*) AS devices, sum(CASE WHEN push THEN 1 ELSE 0 END) AS with_push
FROM bindings
GROUP BY user_agent
ORDER BY devices DESC, user_agent;
