-- In which hours did the observer see requests?
-- One row an hour with any request of the observer (see `observed_requests`), whatever its status.
CREATE OR REPLACE MACRO observed_hours(p_observer := NULL) AS TABLE
SELECT date_trunc('hour', ts) AS hour, min(ts) AS first_ts, max(ts) AS last_ts, count(*) AS requests,
    count(*) FILTER (WHERE status = 401) AS unauthorized
FROM observed_requests(p_observer := p_observer)
WHERE ts IS NOT NULL
GROUP BY date_trunc('hour', ts)
ORDER BY hour;
