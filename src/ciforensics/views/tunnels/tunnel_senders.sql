-- Who opened each tunnel, and how did it end?
-- Every tunnel once (see `observed_tunnels`). The run is what the proxy's helper said, `known_by` metadata; else whose
-- pod had the address when the tunnel ended, `known_by` pods (see `pod_holds`), if all that had it then agree; else
-- NULL. `outcome`: denied by the proxy, stood, failed for another reason; NULL where the log has neither status nor
-- result code.
CREATE OR REPLACE VIEW tunnel_senders AS
WITH ends AS (
    SELECT DISTINCT ts, client_ip, pod FROM observed_tunnels WHERE ts IS NOT NULL AND client_ip IS NOT NULL
),
span AS (
    SELECT min(ts) AS first_ts, max(ts) AS last_ts FROM ends
),
-- Stretches of ten minutes make the search an equi-join.
stretches AS (
    SELECT h.*, unnest(generate_series(
        unix_seconds(greatest(h.from_ts, s.first_ts)) // 600,
        unix_seconds(least(coalesce(h.to_ts, s.last_ts), s.last_ts)) // 600
    )) AS stretch
    FROM pod_holds AS h
    CROSS JOIN span AS s
    WHERE h.client_ip IS NOT NULL AND h.from_ts <= s.last_ts AND coalesce(h.to_ts, s.last_ts) >= s.first_ts
),
holders AS (
    SELECT e.ts, e.client_ip, e.pod AS told_pod,
        max(h.namespace) AS namespace, max(h.pod) AS pod, max(h.node) AS node,
        max(h.ci_repo) AS ci_repo, max(h.workflow) AS workflow, max(h.job) AS job, max(h.run_id) AS run_id,
        count(DISTINCT h.pod) AS pods, count(DISTINCT h.ci_repo) AS ci_repos,
        count(DISTINCT h.workflow) AS workflows, count(DISTINCT h.job) AS jobs, count(DISTINCT h.run_id) AS runs
    FROM ends AS e
    JOIN stretches AS h ON h.client_ip = e.client_ip
        AND h.stretch = unix_seconds(e.ts) // 600
        AND h.from_ts <= e.ts AND (h.to_ts IS NULL OR e.ts < h.to_ts)
        AND (e.pod IS NULL OR h.pod = e.pod)
    GROUP BY e.ts, e.client_ip, e.pod
),
-- Two workflows within one second of an address: the pod may still be known, the run is not.
agreed AS (
    SELECT ts, client_ip, told_pod,
        CASE WHEN pods = 1 THEN namespace END AS namespace, CASE WHEN pods = 1 THEN pod END AS pod,
        CASE WHEN pods = 1 THEN node END AS node, CASE WHEN ci_repos = 1 THEN ci_repo END AS ci_repo,
        CASE WHEN ci_repos <= 1 AND workflows = 1 THEN workflow END AS workflow,
        CASE WHEN ci_repos <= 1 AND workflows <= 1 AND jobs = 1 THEN job END AS job,
        CASE WHEN runs = 1 THEN run_id END AS run_id
    FROM holders
),
told AS (
    SELECT *, coalesce(ci_repo, workflow, run_id) IS NOT NULL AS named FROM observed_tunnels
)
SELECT t.source, t.file_id, t.line_no, t.ts, t.host, t.port, t.bytes_up, t.bytes_down, t.duration_ms, t.status,
    t.result_code,
    CASE
        WHEN t.result_code LIKE '%DENIED%' OR t.status IN (403, 407) THEN 'denied'
        WHEN t.status >= 400 THEN 'failed'
        WHEN t.status BETWEEN 200 AND 299 OR t.result_code LIKE '%TUNNEL%' THEN 'stood'
    END AS outcome,
    t.client_ip, coalesce(t.namespace, a.namespace) AS namespace, coalesce(t.pod, a.pod) AS pod,
    coalesce(t.node, a.node) AS node,
    CASE WHEN NOT t.named OR t.run_id = a.run_id THEN coalesce(t.ci_repo, a.ci_repo) ELSE t.ci_repo END AS ci_repo,
    CASE WHEN NOT t.named OR t.run_id = a.run_id THEN coalesce(t.workflow, a.workflow) ELSE t.workflow END AS workflow,
    CASE WHEN NOT t.named OR t.run_id = a.run_id THEN coalesce(t.job, a.job) ELSE t.job END AS job,
    coalesce(t.run_id, CASE WHEN NOT t.named THEN a.run_id END) AS run_id,
    CASE WHEN t.named THEN 'metadata' WHEN coalesce(a.ci_repo, a.workflow, a.run_id) IS NOT NULL THEN 'pods' END AS known_by
FROM told AS t
LEFT JOIN agreed AS a
    ON a.ts = t.ts AND a.client_ip = t.client_ip AND a.told_pod IS NOT DISTINCT FROM t.pod;
