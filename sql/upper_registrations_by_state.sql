-- How many upper registrations succeed and fail, by upper server and state.
SELECT upper, state, count(*) AS registrations, max(failures) AS most_failures_in_a_row
FROM upper_registrations
GROUP BY upper, state
ORDER BY upper, state;
