-- Which programs got the 401s?
-- 401s by program, version and tag in the user agent, most first; NULL: the user agent does not say, or the
-- log has none. Outcomes as in `unauthorized`; `share` is of all 401s.
CREATE OR REPLACE MACRO unauthorized_by_client(p_answer_within_s := 2, p_observer := NULL) AS TABLE
SELECT client, client_version, client_tag, requests, challenges, refused, bad_credentials, unknown, share, first_ts, last_ts
FROM unauthorized_counts(p_by := 'client', p_answer_within_s := p_answer_within_s, p_observer := p_observer)
ORDER BY requests DESC, client, client_version, client_tag;
