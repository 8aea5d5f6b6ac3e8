-- Which hosts answered with 401?
-- 401s by host, most first; NULL: the log had no URL. Outcomes as in `unauthorized`; `share` is of all 401s.
CREATE OR REPLACE MACRO unauthorized_by_host(p_answer_within_s := 2, p_observer := NULL) AS TABLE
SELECT host, requests, challenges, refused, bad_credentials, unknown, share, first_ts, last_ts
FROM unauthorized_counts(p_by := 'host', p_answer_within_s := p_answer_within_s, p_observer := p_observer)
ORDER BY requests DESC, host;
