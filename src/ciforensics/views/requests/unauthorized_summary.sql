-- How many requests got a 401, and what became of these?
-- One row: all requests of the observer, its 401s and their share, and the 401s by outcome (see `unauthorized`). No row
-- where there are no requests.
CREATE OR REPLACE MACRO unauthorized_summary(p_answer_within_s := 2, p_observer := NULL) AS TABLE
SELECT
    r.requests, r.unauthorized, r.unauthorized / r.requests AS share,
    o.challenges, o.refused, o.bad_credentials, o.unknown
FROM (
    SELECT count(*) AS requests, count(*) FILTER (WHERE status = 401) AS unauthorized
    FROM observed_requests(p_observer := p_observer)
) AS r
CROSS JOIN (
    SELECT
        count(*) FILTER (WHERE outcome = 'challenge') AS challenges,
        count(*) FILTER (WHERE outcome = 'refused') AS refused,
        count(*) FILTER (WHERE outcome = 'bad_credentials') AS bad_credentials,
        count(*) FILTER (WHERE outcome = 'unknown') AS unknown
    FROM unauthorized(p_answer_within_s := p_answer_within_s, p_observer := p_observer)
) AS o
WHERE r.requests > 0;
