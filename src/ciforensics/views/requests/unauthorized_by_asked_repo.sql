-- Which repositories were asked for when the answer was 401?
-- 401s by the repository in the URL, which is not the one whose workflow asked, most first; NULL: the URL
-- names none. Outcomes as in `unauthorized`; `share` is of all 401s.
CREATE OR REPLACE MACRO unauthorized_by_asked_repo(p_answer_within_s := 2, p_observer := NULL) AS TABLE
SELECT
    asked_repo, count(*) AS requests,
    count(*) FILTER (WHERE outcome = 'challenge') AS challenges,
    count(*) FILTER (WHERE outcome = 'refused') AS refused,
    count(*) FILTER (WHERE outcome = 'bad_credentials') AS bad_credentials,
    count(*) FILTER (WHERE outcome = 'unknown') AS unknown,
    count(*) / sum(count(*)) OVER () AS share,
    min(ts) AS first_ts, max(ts) AS last_ts
FROM unauthorized(p_answer_within_s := p_answer_within_s, p_observer := p_observer)
GROUP BY asked_repo
ORDER BY requests DESC, asked_repo;
