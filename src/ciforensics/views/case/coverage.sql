-- When does each source cover the case?
-- Rows by source and time, all files together, in buckets of one width for all (see `span_buckets`); a bucket
-- without rows is not listed.
CREATE OR REPLACE VIEW coverage AS
SELECT
    source, make_timestamp(bucket_no * bucket_us) AS bucket, make_timestamp((bucket_no + 1) * bucket_us) AS bucket_end,
    count(*) AS rows
FROM (
    SELECT m.source, b.bucket_us, unix_micros(m.ts) // b.bucket_us AS bucket_no
    FROM moments AS m
    CROSS JOIN span_buckets AS b
    WHERE b.source IS NULL
) AS numbered
GROUP BY source, bucket_no, bucket_us
ORDER BY source, bucket;
