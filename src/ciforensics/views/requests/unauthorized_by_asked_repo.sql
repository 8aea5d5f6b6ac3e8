-- Which repositories were asked for when the answer was 401?
-- 401s by the repository in the URL, which is not the one whose workflow asked, most first; NULL: the URL
-- names none. Outcomes as in `unauthorized`; `share` is of all 401s.
CREATE OR REPLACE MACRO unauthorized_by_asked_repo(p_answer_within_s := 2, p_observer := NULL) AS TABLE
SELECT asked_repo, requests, challenges, refused, bad_credentials, unknown, share, first_ts, last_ts
FROM unauthorized_counts(p_by := 'asked_repo', p_answer_within_s := p_answer_within_s, p_observer := p_observer)
ORDER BY requests DESC, asked_repo;
