-- Push tokens by app, provider, environment and state.
SELECT param AS app, provider, environment, state, count(*) AS tokens, count(DISTINCT user_id) AS users
FROM push_tokens
GROUP BY param, provider, environment, state
ORDER BY param, provider, environment, state;
