-- When did the 401s come, and what became of them?
-- Counts by time and outcome (see `unauthorized`); `p_bucket` is an interval, the observer's span decides if
-- not given. A bucket without 401s has no row.
CREATE OR REPLACE MACRO unauthorized_over_time(p_bucket := NULL, p_answer_within_s := 2, p_observer := NULL) AS TABLE
SELECT
    make_timestamp(bucket_no * bucket_us) AS bucket, make_timestamp((bucket_no + 1) * bucket_us) AS bucket_end,
    outcome, count(*) AS requests
FROM (
    SELECT u.outcome, b.bucket_us, unix_micros(u.ts) // b.bucket_us AS bucket_no
    FROM unauthorized(p_answer_within_s := p_answer_within_s, p_observer := p_observer) AS u
    CROSS JOIN observer_bucket(p_observer := p_observer, p_bucket := p_bucket) AS b
) AS numbered
GROUP BY bucket_no, bucket_us, outcome
ORDER BY bucket, outcome;
