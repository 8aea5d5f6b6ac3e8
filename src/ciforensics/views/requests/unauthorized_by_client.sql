-- Which programs got the 401s?
-- 401s by program, version and tag in the user agent, most first; NULL: the user agent does not say, or the
-- log has none. Outcomes as in `unauthorized`; `share` is of all 401s.
CREATE OR REPLACE MACRO unauthorized_by_client(p_answer_within_s := 2, p_observer := NULL) AS TABLE
SELECT
    client, client_version, client_tag, count(*) AS requests,
    count(*) FILTER (WHERE outcome = 'challenge') AS challenges,
    count(*) FILTER (WHERE outcome = 'refused') AS refused,
    count(*) FILTER (WHERE outcome = 'bad_credentials') AS bad_credentials,
    count(*) FILTER (WHERE outcome = 'unknown') AS unknown,
    count(*) / sum(count(*)) OVER () AS share,
    min(ts) AS first_ts, max(ts) AS last_ts
FROM unauthorized(p_answer_within_s := p_answer_within_s, p_observer := p_observer)
GROUP BY client, client_version, client_tag
ORDER BY requests DESC, client, client_version, client_tag;
