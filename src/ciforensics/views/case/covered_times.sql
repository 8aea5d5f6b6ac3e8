-- Which stretches of time does each source cover?
-- As in `coverage`, a row for each source and bucket, but a job covers all the time that it ran and a pod all that it
-- had its address, not only the start.
CREATE OR REPLACE VIEW covered_times AS
SELECT source, bucket, bucket_end FROM coverage
UNION
SELECT h.source, make_timestamp(h.bucket_no * h.bucket_us), make_timestamp((h.bucket_no + 1) * h.bucket_us)
FROM (
    SELECT s.source, b.bucket_us, unnest(generate_series(
        unix_micros(greatest(s.from_ts, b.first_ts)) // b.bucket_us,
        unix_micros(least(coalesce(s.to_ts, b.last_ts), b.last_ts)) // b.bucket_us
    )) AS bucket_no
    FROM (
        SELECT source, started_at AS from_ts, completed_at AS to_ts FROM jobs WHERE completed_at IS NOT NULL
        UNION ALL
        SELECT source, from_ts, to_ts FROM pods WHERE client_ip IS NOT NULL
    ) AS s
    CROSS JOIN span_buckets AS b
    WHERE b.source IS NULL AND s.from_ts IS NOT NULL
) AS h;
