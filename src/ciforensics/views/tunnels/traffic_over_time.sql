-- When did the tunnels end, by route, and with how many bytes?
-- Counts by time, route and registry (see `tunnel_routes`); `p_bucket` is an interval, the span of the tunnels' log
-- decides if not given. All bytes of a tunnel lie where it ended (where the log has only its start, there): one that
-- was open for an hour is one step, not an hour's flow. Without a time: no row.
CREATE OR REPLACE MACRO traffic_over_time(p_mirror := NULL, p_bucket := NULL) AS TABLE
SELECT
    make_timestamp(bucket_no * bucket_us) AS bucket, make_timestamp((bucket_no + 1) * bucket_us) AS bucket_end,
    route, registry, count(*) AS tunnels, CAST(sum(bytes_up) AS BIGINT) AS bytes_up,
    CAST(sum(bytes_down) AS BIGINT) AS bytes_down
FROM (
    SELECT t.route, t.registry, t.bytes_up, t.bytes_down, w.bucket_us,
        unix_micros(t.ts) // w.bucket_us AS bucket_no
    FROM traffic(p_mirror := p_mirror) AS t
    JOIN (
        SELECT source, coalesce(interval_micros(p_bucket), bucket_us) AS bucket_us FROM span_buckets
    ) AS w ON w.source = t.source
    WHERE t.ts IS NOT NULL
) AS numbered
GROUP BY bucket_no, bucket_us, route, registry
ORDER BY bucket, route, registry;
