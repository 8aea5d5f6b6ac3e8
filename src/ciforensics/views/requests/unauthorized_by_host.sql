-- Which hosts answered with 401?
-- 401s by host, most first; NULL: the log had no URL. Outcomes as in `unauthorized`; `share` is of all 401s.
CREATE OR REPLACE MACRO unauthorized_by_host(p_answer_within_s := 2, p_observer := NULL) AS TABLE
SELECT
    host, count(*) AS requests,
    count(*) FILTER (WHERE outcome = 'challenge') AS challenges,
    count(*) FILTER (WHERE outcome = 'refused') AS refused,
    count(*) FILTER (WHERE outcome = 'bad_credentials') AS bad_credentials,
    count(*) FILTER (WHERE outcome = 'unknown') AS unknown,
    count(*) / sum(count(*)) OVER () AS share,
    min(ts) AS first_ts, max(ts) AS last_ts
FROM unauthorized(p_answer_within_s := p_answer_within_s, p_observer := p_observer)
GROUP BY host
ORDER BY requests DESC, host;
