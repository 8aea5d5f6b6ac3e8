-- How wide should a bar over time be?
-- For each source, and for the whole case (`source` NULL), the narrowest round width that gives at most 120
-- bars.
CREATE OR REPLACE VIEW span_buckets AS
SELECT source, first_ts, last_ts,
    CAST(1000000 AS BIGINT) * CASE
        WHEN span_s <= 120 THEN 1
        WHEN span_s <= 600 THEN 5
        WHEN span_s <= 1800 THEN 15
        WHEN span_s <= 7200 THEN 60
        WHEN span_s <= 36000 THEN 300
        WHEN span_s <= 108000 THEN 900
        WHEN span_s <= 432000 THEN 3600
        WHEN span_s <= 2592000 THEN 21600
        WHEN span_s <= 10368000 THEN 86400
        ELSE 604800
    END AS bucket_us
FROM (
    SELECT source, min(first_ts) AS first_ts, max(last_ts) AS last_ts,
        date_diff('second', min(first_ts), max(last_ts)) AS span_s
    FROM files
    GROUP BY source
    UNION ALL
    SELECT NULL, min(first_ts), max(last_ts), date_diff('second', min(first_ts), max(last_ts))
    FROM files
) AS spans;
