-- Which keys does each row of evidence carry?
-- A row for each row of every log, without twins and what a second export repeats (see `observed_requests`). `runner`
-- is the pod where a log names no runner, `connection` the client's address and port, and `orchestration_id` is spelt
-- as in a user agent (see `as_in_user_agent`).
CREATE OR REPLACE VIEW row_keys AS
SELECT r.source, r.file_id, r.line_no, r.ts,
    as_in_user_agent(r.orchestration_id) AS orchestration_id,
    CAST(NULL AS VARCHAR) AS run_id, CAST(NULL AS VARCHAR) AS runner, r.client_ip,
    r.client_ip || ':' || CAST(r.client_port AS VARCHAR) AS connection, r.request_id
FROM requests AS r
ANTI JOIN left_out AS l ON l.file_id = r.file_id AND r.ts BETWEEN l.from_ts AND l.to_ts
ANTI JOIN surplus AS s ON s.file_id = r.file_id AND s.line_no = r.line_no
UNION ALL
SELECT t.source, t.file_id, t.line_no, t.ts, NULL, t.run_id, t.pod, t.client_ip, NULL, NULL
FROM tunnels AS t
ANTI JOIN left_out AS l ON l.file_id = t.file_id AND t.ts BETWEEN l.from_ts AND l.to_ts
UNION ALL
SELECT source, file_id, line_no, ts, as_in_user_agent(orchestration_id), run_id,
    coalesce(runner, pod), NULL, NULL, NULL
FROM invocations
UNION ALL
SELECT source, file_id, line_no, ts, NULL, run_id, pod, NULL, NULL, NULL
FROM docker_events
UNION ALL
SELECT source, file_id, line_no, started_at, NULL, run_id, runner, NULL, NULL, NULL
FROM jobs
UNION ALL
SELECT source, file_id, line_no, from_ts, NULL, run_id, coalesce(runner, pod), client_ip, NULL, NULL
FROM pods
UNION ALL
SELECT source, file_id, line_no, ts, as_in_user_agent(orchestration_id), NULL,
    NULL, client_ip, NULL, request_id
FROM audit_events;
