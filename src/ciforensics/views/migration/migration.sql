-- How far is the migration to images that send credentials unasked, and does it work?
-- Git requests by time and class (see `git_clients`), and how many of them were answered 401: the cure works
-- where `unauthorized_share` is near 0. `p_bucket` is an interval, the observer's span decides if not given.
CREATE OR REPLACE MACRO migration(p_observer := NULL, p_bucket := NULL) AS TABLE
SELECT
    make_timestamp(bucket_no * bucket_us) AS bucket, make_timestamp((bucket_no + 1) * bucket_us) AS bucket_end,
    class, sum(requests)::BIGINT AS requests, sum(unauthorized)::BIGINT AS unauthorized,
    sum(unauthorized) / sum(requests) AS unauthorized_share
FROM (
    SELECT b.bucket_us, unix_micros(r.ts) // b.bucket_us AS bucket_no,
        r.client, r.client_version, r.client_tag,
        count(*) AS requests, count(*) FILTER (WHERE r.status = 401) AS unauthorized
    FROM observed_requests(p_observer := p_observer) AS r
    CROSS JOIN observer_bucket(p_observer := p_observer, p_bucket := p_bucket) AS b
    WHERE is_git(r.service)
    GROUP BY ALL
) AS counted
JOIN git_classes AS g
    ON g.client IS NOT DISTINCT FROM counted.client
    AND g.client_version IS NOT DISTINCT FROM counted.client_version
    AND g.client_tag IS NOT DISTINCT FROM counted.client_tag
GROUP BY bucket_no, bucket_us, class
ORDER BY bucket, class;
