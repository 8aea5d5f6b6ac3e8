-- Which 401s carry a key, and where does it lead?
-- A row for each of the observer's 401s: its keys, `pod` (one that had the client address then, by `pod_holds` or by
-- a tunnel of that address, 2 s either way), and the run that a key names (see `exact_keys`).
CREATE OR REPLACE MACRO unauthorized_keys(p_observer := NULL) AS TABLE
WITH asked AS (
    SELECT source, file_id, line_no, ts, client_ip, orchestration_id
    FROM observed_requests(p_observer := p_observer)
    WHERE status = 401
),
span AS (
    SELECT min(ts) AS first_ts, max(ts) AS last_ts FROM asked WHERE client_ip IS NOT NULL
),
holds AS (
    SELECT h.client_ip, h.pod, greatest(h.from_ts, s.first_ts) AS from_ts,
        least(coalesce(h.to_ts, s.last_ts), s.last_ts) AS to_ts
    FROM (
        SELECT client_ip, pod, from_ts, to_ts FROM pod_holds
        UNION ALL
        SELECT client_ip, pod,
            ts - INTERVAL 1 MILLISECOND * (CASE ts_kind WHEN 'start' THEN 0 ELSE coalesce(duration_ms, 0) END + 2000),
            ts + INTERVAL 1 MILLISECOND * (CASE ts_kind WHEN 'start' THEN coalesce(duration_ms, 0) ELSE 0 END + 2000)
        FROM tunnels
    ) AS h
    CROSS JOIN span AS s
    WHERE h.client_ip IS NOT NULL AND h.pod IS NOT NULL AND h.from_ts <= s.last_ts
        AND coalesce(h.to_ts, s.last_ts) >= s.first_ts
),
-- Stretches of ten minutes make the search an equi-join.
stretches AS (
    SELECT h.*, unnest(generate_series(
        date_diff('second', TIMESTAMP '1970-01-01 00:00:00', from_ts) // 600,
        date_diff('second', TIMESTAMP '1970-01-01 00:00:00', to_ts) // 600
    )) AS stretch
    FROM holds AS h
),
holders AS (
    SELECT a.ts, a.client_ip, max(h.pod) AS pod
    FROM (SELECT DISTINCT ts, client_ip FROM asked) AS a
    JOIN stretches AS h ON h.client_ip = a.client_ip
        AND h.stretch = date_diff('second', TIMESTAMP '1970-01-01 00:00:00', a.ts) // 600
        AND a.ts BETWEEN h.from_ts AND h.to_ts
    GROUP BY a.ts, a.client_ip
)
SELECT a.source, a.file_id, a.line_no, a.ts, a.client_ip, a.orchestration_id, h.pod, e.basis,
    e.ci_repo, e.workflow, e.job, e.run_id
FROM asked AS a
LEFT JOIN holders AS h ON h.ts = a.ts AND h.client_ip = a.client_ip
LEFT JOIN exact_keys(p_observer := p_observer) AS e
    ON e.ts = a.ts AND e.client_ip IS NOT DISTINCT FROM a.client_ip
    AND e.orchestration_id IS NOT DISTINCT FROM a.orchestration_id;
