-- What did each observer see of each HTTP request?
-- One row a request and observer: never add the observers up, `observed_requests` counts one of them. Stored
-- apart from urls and user agents; a row without either stays.
CREATE OR REPLACE VIEW requests AS
SELECT
    f.source, r.file_id, r.line_no, r.ts, r.ts_kind, r.ts_resolution_ms, r.method,
    u.url, u.host, u.path, u.query, u.asked_repo, u.service, r.status,
    a.user_agent, a.client, a.client_version, a.client_tag, r.authenticated,
    r.request_bytes, r.response_bytes, r.duration_ms, r.client_ip, r.client_port, r.request_id, r.actor,
    coalesce(r.orchestration_id, a.orchestration_id) AS orchestration_id
FROM store.requests AS r
LEFT JOIN files AS f ON f.file_id = r.file_id
LEFT JOIN store.urls AS u ON u.url_id = r.url_id
LEFT JOIN store.user_agents AS a ON a.user_agent_id = r.user_agent_id;
