-- Which rows of GitHub's exports does another export show as well?
-- Where exports overlap in time, of rows identical in everything but their place the largest count in one
-- file is kept, as a repeat within a file is real; the others are surplus. The copy kept is the one from a
-- file that shows more than 401s, else from the file read first.
CREATE OR REPLACE VIEW surplus AS
WITH copies AS (
    SELECT r.file_id, r.line_no, f.only_401, r.ts, r.ts_kind, r.ts_resolution_ms, r.method, r.url, r.status,
        r.user_agent, r.authenticated, r.request_bytes, r.response_bytes, r.duration_ms, r.client_ip,
        r.client_port, r.request_id, r.actor,
        row_number() OVER (
            PARTITION BY r.file_id, ts, ts_kind, ts_resolution_ms, method, url, status, user_agent, authenticated,
                request_bytes, response_bytes, duration_ms, client_ip, client_port, request_id, actor
            ORDER BY r.line_no
        ) AS copy
    FROM requests AS r
    SEMI JOIN overlapping_exports AS o ON o.file_id = r.file_id AND r.ts BETWEEN o.from_ts AND o.to_ts
    JOIN file_status AS f ON f.file_id = r.file_id
)
SELECT file_id, line_no
FROM (
    SELECT file_id, line_no,
        row_number() OVER (
            PARTITION BY copy, ts, ts_kind, ts_resolution_ms, method, url, status, user_agent, authenticated,
                request_bytes, response_bytes, duration_ms, client_ip, client_port, request_id, actor
            ORDER BY only_401, file_id
        ) AS choice
    FROM copies
) AS choices
WHERE choice > 1;
