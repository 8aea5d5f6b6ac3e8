-- How many 401s are there, told apart by what is asked for?
-- `p_by`: host, asked_repo or client, with its version and tag; else all are one row. The columns that it does not name are
-- NULL, as is the one that it names where the log does not say. Outcomes as in `unauthorized`; `share` is of all 401s.
CREATE OR REPLACE MACRO unauthorized_counts(p_by := NULL, p_answer_within_s := 2, p_observer := NULL) AS TABLE
SELECT
    host, asked_repo, client, client_version, client_tag, count(*) AS requests,
    count(*) FILTER (WHERE outcome = 'challenge') AS challenges,
    count(*) FILTER (WHERE outcome = 'refused') AS refused,
    count(*) FILTER (WHERE outcome = 'bad_credentials') AS bad_credentials,
    count(*) FILTER (WHERE outcome = 'unknown') AS unknown,
    count(*) / sum(count(*)) OVER () AS share,
    min(ts) AS first_ts, max(ts) AS last_ts
FROM (
    SELECT
        CASE WHEN p_by = 'host' THEN host END AS host, CASE WHEN p_by = 'asked_repo' THEN asked_repo END AS asked_repo,
        CASE WHEN p_by = 'client' THEN client END AS client,
        CASE WHEN p_by = 'client' THEN client_version END AS client_version,
        CASE WHEN p_by = 'client' THEN client_tag END AS client_tag, outcome, ts
    FROM unauthorized(p_answer_within_s := p_answer_within_s, p_observer := p_observer)
) AS told_apart
GROUP BY host, asked_repo, client, client_version, client_tag;
