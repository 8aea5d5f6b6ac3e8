-- Which keys does each source carry?
-- How many of a source's rows carry each key (see `row_keys`); NULL: none of them.
CREATE OR REPLACE VIEW source_keys AS
SELECT source, count(*) AS rows,
    nullif(count(orchestration_id), 0) AS with_orchestration_id, nullif(count(run_id), 0) AS with_run_id,
    nullif(count(runner), 0) AS with_runner, nullif(count(client_ip), 0) AS with_client_ip,
    nullif(count(connection), 0) AS with_connection, nullif(count(request_id), 0) AS with_request_id
FROM row_keys
GROUP BY source
ORDER BY source;
