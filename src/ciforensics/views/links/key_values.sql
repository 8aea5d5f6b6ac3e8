-- How often does each source name each value of each key?
-- Keys as in `row_keys`. A source that names a value in a thousand rows is one row here.
CREATE OR REPLACE VIEW key_values AS
SELECT source, key, value, count(*) AS rows
FROM (
    SELECT r.source, k.key,
        CASE k.key
            WHEN 'orchestration_id' THEN r.orchestration_id
            WHEN 'run_id' THEN r.run_id
            WHEN 'runner' THEN r.runner
            WHEN 'client_ip' THEN r.client_ip
            WHEN 'connection' THEN r.connection
            WHEN 'request_id' THEN r.request_id
        END AS value
    FROM row_keys AS r
    CROSS JOIN (
        VALUES ('orchestration_id'), ('run_id'), ('runner'), ('client_ip'), ('connection'), ('request_id')
    ) AS k(key)
) AS carried
WHERE value IS NOT NULL
GROUP BY source, key, value;
