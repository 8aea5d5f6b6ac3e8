-- How much of what the observer saw falls into times in which another source saw anything?
-- For each source but the observer, and each stretch of time as in `covered_times`: the observer's `requests` and its 401s
-- (`unauthorized`) in stretches in which that source has rows, and their shares of all. Clocks are taken as they are.
CREATE OR REPLACE MACRO covered_requests(p_observer := NULL) AS TABLE
WITH asked AS (
    SELECT
        make_timestamp(unix_micros(r.ts) // b.bucket_us * b.bucket_us) AS bucket,
        count(*) AS requests, count(*) FILTER (WHERE r.status = 401) AS unauthorized
    FROM observed_requests(p_observer := p_observer) AS r
    JOIN span_buckets AS b ON b.source IS NULL
    WHERE r.ts IS NOT NULL
    GROUP BY 1
),
totals AS (
    SELECT sum(requests) AS requests, sum(unauthorized) AS unauthorized FROM asked
)
SELECT c.source, min(c.bucket) AS from_ts, max(c.bucket_end) AS to_ts,
    coalesce(sum(a.requests), 0)::BIGINT AS requests, coalesce(sum(a.requests), 0) / max(t.requests) AS share,
    coalesce(sum(a.unauthorized), 0)::BIGINT AS unauthorized,
    coalesce(sum(a.unauthorized), 0) / nullif(max(t.unauthorized), 0) AS unauthorized_share
FROM covered_times AS c
ANTI JOIN observer(p_observer := p_observer) AS o ON o.source = c.source
CROSS JOIN totals AS t
LEFT JOIN asked AS a ON a.bucket = c.bucket
GROUP BY c.source
ORDER BY c.source;
