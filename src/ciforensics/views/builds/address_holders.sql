-- Who had the client address of a 401 when it came?
-- For each time and address of the observer's 401s (with `p_fetches`, of its git requests too) a row for each pod that held the address then (see `pod_holds`)
-- and each tunnel from it (from its start to its end, 2 s more), with the run where it is known.
CREATE OR REPLACE MACRO address_holders(p_observer := NULL, p_fetches := false) AS TABLE
WITH asked AS (
    SELECT DISTINCT ts, client_ip
    FROM observed_requests(p_observer := p_observer)
    WHERE (status = 401 OR p_fetches AND is_git(service)) AND ts IS NOT NULL
        AND client_ip IS NOT NULL
),
span AS (
    SELECT min(ts) AS first_ts, max(ts) AS last_ts FROM asked
),
holds AS (
    SELECT h.client_ip, h.pod, h.ci_repo, h.workflow, h.job, h.run_id,
        greatest(h.from_ts, s.first_ts) AS from_ts, least(coalesce(h.to_ts, s.last_ts), s.last_ts) AS to_ts
    FROM (
        SELECT client_ip, pod, ci_repo, workflow, job, run_id, from_ts, to_ts - INTERVAL 1 MICROSECOND AS to_ts
        FROM pod_holds
        UNION ALL
        SELECT client_ip, pod, ci_repo, workflow, job, run_id,
            ts - INTERVAL 1 MILLISECOND * (CASE ts_kind WHEN 'start' THEN 0 ELSE coalesce(duration_ms, 0) END + 2000),
            ts + INTERVAL 1 MILLISECOND * (CASE ts_kind WHEN 'start' THEN coalesce(duration_ms, 0) ELSE 0 END + 2000)
        FROM tunnels
    ) AS h
    CROSS JOIN span AS s
    WHERE h.client_ip IS NOT NULL AND h.from_ts <= s.last_ts AND coalesce(h.to_ts, s.last_ts) >= s.first_ts
),
-- Stretches of ten minutes make the search an equi-join.
stretches AS (
    SELECT h.*, unnest(generate_series(unix_seconds(from_ts) // 600, unix_seconds(to_ts) // 600)) AS stretch
    FROM holds AS h
)
SELECT a.ts, a.client_ip, h.pod, h.ci_repo, h.workflow, h.job, h.run_id
FROM asked AS a
JOIN stretches AS h ON h.client_ip = a.client_ip
    AND h.stretch = unix_seconds(a.ts) // 600
    AND a.ts BETWEEN h.from_ts AND h.to_ts;
