-- For which 401s does evidence share a key with a run?
-- By time, client address and orchestration id of the 401s. `orchestration id`: the user agent carries the id
-- of a job that one run of the docker wrapper's log names too. `address`: a pod that a run is known of held
-- the client address then (see `pod_holds`), or its tunnels (from their start to their end, 2 s more) are known to be a run's,
-- and no other run's pod or tunnel had the address at that time.
CREATE OR REPLACE MACRO exact_keys(p_observer := NULL) AS TABLE
WITH asked AS (
    SELECT DISTINCT ts, client_ip, orchestration_id
    FROM observed_requests(p_observer := p_observer)
    WHERE status = 401 AND ts IS NOT NULL AND (client_ip IS NOT NULL OR orchestration_id IS NOT NULL)
),
-- Clients replace what may not stand in a user agent by `_`.
orchestrations AS (
    SELECT orchestration_id, max(ci_repo) AS ci_repo, max(workflow) AS workflow, max(job) AS job, max(run_id) AS run_id
    FROM (
        SELECT DISTINCT regexp_replace(lower(orchestration_id), '[^a-z0-9_.-]', '_', 'g') AS orchestration_id,
            ci_repo, workflow, job, run_id
        FROM invocations
        WHERE orchestration_id IS NOT NULL AND (run_id IS NOT NULL OR ci_repo IS NOT NULL)
    ) AS named
    GROUP BY orchestration_id
    HAVING count(*) = 1
),
span AS (
    SELECT min(ts) AS first_ts, max(ts) AS last_ts FROM asked WHERE client_ip IS NOT NULL
),
holds AS (
    SELECT h.client_ip, h.ci_repo, h.workflow, h.job, h.run_id,
        greatest(h.from_ts, s.first_ts) AS from_ts, least(coalesce(h.to_ts, s.last_ts), s.last_ts) AS to_ts
    FROM (
        SELECT client_ip, ci_repo, workflow, job, run_id, from_ts, to_ts - INTERVAL 1 MICROSECOND AS to_ts
        FROM pod_holds
        WHERE run_id IS NOT NULL OR ci_repo IS NOT NULL
        UNION ALL
        SELECT client_ip, ci_repo, workflow, job, run_id,
            ts - INTERVAL 1 MILLISECOND * (CASE ts_kind WHEN 'start' THEN 0 ELSE coalesce(duration_ms, 0) END + 2000),
            ts + INTERVAL 1 MILLISECOND * (CASE ts_kind WHEN 'start' THEN coalesce(duration_ms, 0) ELSE 0 END + 2000)
        FROM tunnels
        WHERE run_id IS NOT NULL OR ci_repo IS NOT NULL
    ) AS h
    CROSS JOIN span AS s
    WHERE h.client_ip IS NOT NULL AND h.from_ts <= s.last_ts AND coalesce(h.to_ts, s.last_ts) >= s.first_ts
),
-- Stretches of ten minutes make the search an equi-join.
stretches AS (
    SELECT h.*, unnest(generate_series(
        date_diff('second', TIMESTAMP '1970-01-01 00:00:00', from_ts) // 600,
        date_diff('second', TIMESTAMP '1970-01-01 00:00:00', to_ts) // 600
    )) AS stretch
    FROM holds AS h
),
addresses AS (
    SELECT a.ts, a.client_ip, max(h.ci_repo) AS ci_repo, max(h.workflow) AS workflow,
        CASE WHEN count(DISTINCT h.job) = 1 THEN max(h.job) END AS job, max(h.run_id) AS run_id
    FROM (SELECT DISTINCT ts, client_ip FROM asked) AS a
    JOIN stretches AS h ON h.client_ip = a.client_ip
        AND h.stretch = date_diff('second', TIMESTAMP '1970-01-01 00:00:00', a.ts) // 600
        AND a.ts BETWEEN h.from_ts AND h.to_ts
    GROUP BY a.ts, a.client_ip
    HAVING count(DISTINCT h.run_id) <= 1 AND count(DISTINCT h.ci_repo) <= 1 AND count(DISTINCT h.workflow) <= 1
)
SELECT a.ts, a.client_ip, a.orchestration_id,
    CASE WHEN o.orchestration_id IS NOT NULL THEN 'orchestration id' ELSE 'address' END AS basis,
    CASE WHEN o.orchestration_id IS NOT NULL THEN o.ci_repo ELSE h.ci_repo END AS ci_repo,
    CASE WHEN o.orchestration_id IS NOT NULL THEN o.workflow ELSE h.workflow END AS workflow,
    CASE WHEN o.orchestration_id IS NOT NULL THEN o.job ELSE h.job END AS job,
    CASE WHEN o.orchestration_id IS NOT NULL THEN o.run_id ELSE h.run_id END AS run_id
FROM asked AS a
LEFT JOIN orchestrations AS o
    ON o.orchestration_id = regexp_replace(lower(a.orchestration_id), '[^a-z0-9_.-]', '_', 'g')
LEFT JOIN addresses AS h ON h.ts = a.ts AND h.client_ip = a.client_ip
WHERE o.orchestration_id IS NOT NULL OR h.client_ip IS NOT NULL;
