-- Which rows does no key link to another source, and why?
-- `reason`: no other source saw anything in the same stretch of time (see `covered_times`), the row carries no key, or no
-- other source names any of the keys that it carries (see `row_keys`).
CREATE OR REPLACE VIEW unlinked AS
WITH shared AS (
    SELECT key, value FROM key_values GROUP BY key, value HAVING count(*) > 1
),
busy AS (
    SELECT bucket, count(*) AS n_sources FROM covered_times GROUP BY bucket
),
-- A job or a pod is not over with the stretch in which it began.
lasting AS (
    SELECT source FROM jobs UNION SELECT source FROM pods
),
judged AS (
    SELECT r.source, r.file_id, r.line_no, r.ts, c.n_sources = 1 AND t.source IS NULL AS out_of_time,
        o.key IS NULL AND n.key IS NULL AND w.key IS NULL AND a.key IS NULL AND p.key IS NULL AND q.key IS NULL AS alone,
        concat_ws(', ',
            CASE WHEN r.orchestration_id IS NOT NULL THEN 'orchestration_id' END,
            CASE WHEN r.run_id IS NOT NULL THEN 'run_id' END, CASE WHEN r.runner IS NOT NULL THEN 'runner' END,
            CASE WHEN r.client_ip IS NOT NULL THEN 'client_ip' END,
            CASE WHEN r.connection IS NOT NULL THEN 'connection' END,
            CASE WHEN r.request_id IS NOT NULL THEN 'request_id' END
        ) AS keys
    FROM row_keys AS r
    LEFT JOIN shared AS o ON o.key = 'orchestration_id' AND o.value = r.orchestration_id
    LEFT JOIN shared AS n ON n.key = 'run_id' AND n.value = r.run_id
    LEFT JOIN shared AS w ON w.key = 'runner' AND w.value = r.runner
    LEFT JOIN shared AS a ON a.key = 'client_ip' AND a.value = r.client_ip
    LEFT JOIN shared AS p ON p.key = 'connection' AND p.value = r.connection
    LEFT JOIN shared AS q ON q.key = 'request_id' AND q.value = r.request_id
    LEFT JOIN lasting AS t ON t.source = r.source
    LEFT JOIN span_buckets AS b ON b.source IS NULL
    LEFT JOIN busy AS c ON c.bucket = make_timestamp(unix_micros(r.ts) // b.bucket_us * b.bucket_us)
)
SELECT source, file_id, line_no, ts,
    CASE
        WHEN out_of_time THEN 'no other source saw anything then'
        WHEN keys = '' THEN 'carries no key'
        ELSE 'no other source names its ' || keys
    END AS reason
FROM judged
WHERE alone;
