-- Which exports of GitHub's overlap, and do they agree?
-- For each pair the rows of both within the time that both cover, and how many of them are the same row twice
-- (identical in everything but their place; of repeats as many as both have). `observed_requests` counts
-- those once.
CREATE OR REPLACE VIEW export_overlaps AS
WITH pairs AS (
    SELECT * FROM overlapping_exports WHERE file_id < other_file_id
),
counted AS (
    SELECT p.file_id, p.other_file_id, ts_kind, ts_resolution_ms, ts, method, url, status, user_agent, authenticated,
        request_bytes, response_bytes, duration_ms, client_ip, client_port, request_id, actor,
        count(*) FILTER (WHERE r.file_id = p.file_id) AS rows,
        count(*) FILTER (WHERE r.file_id = p.other_file_id) AS other_rows
    FROM (
        SELECT file_id, other_file_id, file_id AS side, from_ts, to_ts FROM pairs
        UNION ALL
        SELECT file_id, other_file_id, other_file_id, from_ts, to_ts FROM pairs
    ) AS p
    JOIN requests AS r ON r.file_id = p.side AND r.ts BETWEEN p.from_ts AND p.to_ts
    GROUP BY p.file_id, p.other_file_id, ts_kind, ts_resolution_ms, ts, method, url, status, user_agent, authenticated,
        request_bytes, response_bytes, duration_ms, client_ip, client_port, request_id, actor
)
SELECT p.file_id, p.other_file_id, p.from_ts, p.to_ts,
    sum(c.rows)::BIGINT AS rows, sum(c.other_rows)::BIGINT AS other_rows,
    sum(least(c.rows, c.other_rows))::BIGINT AS same_rows
FROM pairs AS p
JOIN counted AS c ON c.file_id = p.file_id AND c.other_file_id = p.other_file_id
GROUP BY p.file_id, p.other_file_id, p.from_ts, p.to_ts
ORDER BY p.file_id, p.other_file_id;
