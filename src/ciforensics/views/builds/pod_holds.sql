-- Which pod had an address when, and which run was it then?
-- A row for each pod, address and stretch of time, from `from_ts` up to, not including, `to_ts` (NULL: to the
-- end). A pod that is in many snapshots is one: from its first time to the earliest end that is known, else
-- until another pod has its address or its name. It is cut where a job began or ended on the runner of that name;
-- between jobs, and where no job is known, the run is its EphemeralRunner's, or NULL. Ends are whole seconds, cut
-- off: each counts with its last second, so two jobs may share one. A workflow known by its file alone is named
-- where a job or an invocation of its run is.
CREATE OR REPLACE VIEW pod_holds AS
WITH seen AS (
    SELECT client_ip, namespace, pod, from_ts, max(node) AS node, max(runner) AS runner, min(to_ts) AS to_ts
    FROM pods
    WHERE client_ip IS NOT NULL
    GROUP BY client_ip, namespace, pod, from_ts
),
-- A name may come back, and with the same address, after the pod is known to have ended.
lives AS (
    SELECT *, sum(starts_anew) OVER (
        PARTITION BY client_ip, namespace, pod ORDER BY from_ts ROWS UNBOUNDED PRECEDING
    ) AS life
    FROM (
        SELECT *,
            CASE WHEN from_ts > max(to_ts) OVER (
                PARTITION BY client_ip, namespace, pod ORDER BY from_ts ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) THEN 1 ELSE 0 END AS starts_anew
        FROM seen
    ) AS marked
),
merged AS (
    SELECT client_ip, namespace, pod, min(from_ts) AS from_ts, max(node) AS node, max(runner) AS runner,
        CASE WHEN min(to_ts) < min(from_ts) THEN min(from_ts) ELSE min(to_ts) END + INTERVAL 1 SECOND AS to_ts
    FROM lives
    GROUP BY client_ip, namespace, pod, life
),
-- Up to here no end is NULL; 9999 is one that nobody knows.
holds AS (
    SELECT row_number() OVER () AS hold, client_ip, namespace, pod, node, runner, coalesce(runner, pod) AS worker, from_ts,
        coalesce(
            to_ts,
            least(
                min(from_ts) OVER (
                    PARTITION BY client_ip ORDER BY from_ts
                    RANGE BETWEEN INTERVAL 1 MICROSECOND FOLLOWING AND UNBOUNDED FOLLOWING
                ),
                min(from_ts) OVER (
                    PARTITION BY namespace, pod ORDER BY from_ts
                    RANGE BETWEEN INTERVAL 1 MICROSECOND FOLLOWING AND UNBOUNDED FOLLOWING
                )
            ),
            TIMESTAMP '9999-12-31 00:00:00'
        ) AS to_ts
    FROM merged
),
worked AS (
    SELECT runner, ci_repo, workflow, job, run_id, from_ts,
        coalesce(
            CASE WHEN to_ts < from_ts THEN from_ts ELSE to_ts END + INTERVAL 1 SECOND,
            min(from_ts) OVER (
                PARTITION BY runner ORDER BY from_ts
                RANGE BETWEEN INTERVAL 1 MICROSECOND FOLLOWING AND UNBOUNDED FOLLOWING
            ),
            TIMESTAMP '9999-12-31 00:00:00'
        ) AS to_ts
    FROM (
        SELECT runner, ci_repo, workflow, job, run_id, started_at AS from_ts, max(completed_at) AS to_ts
        FROM jobs
        WHERE runner IS NOT NULL AND started_at IS NOT NULL
        GROUP BY runner, ci_repo, workflow, job, run_id, run_attempt, started_at
    ) AS each_once
),
busy AS (
    SELECT h.hold, greatest(h.from_ts, w.from_ts) AS from_ts, least(h.to_ts, w.to_ts) AS to_ts,
        w.ci_repo, w.workflow, w.job, w.run_id
    FROM holds AS h
    JOIN worked AS w ON w.runner = h.worker AND w.from_ts < h.to_ts AND w.to_ts > h.from_ts
),
-- A runner of this kind takes one job in its life.
taken AS (
    SELECT namespace, pod, max(ci_repo) AS ci_repo, max(workflow) AS workflow, max(job) AS job, max(run_id) AS run_id
    FROM pods
    WHERE client_ip IS NULL
    GROUP BY namespace, pod
    HAVING count(DISTINCT run_id) <= 1 AND count(DISTINCT ci_repo) <= 1
),
idle AS (
    SELECT h.hold, b.from_ts, b.to_ts, t.ci_repo, t.workflow, t.job, t.run_id
    FROM (
        SELECT hold,
            coalesce(
                max(to_ts) OVER (
                    PARTITION BY hold ORDER BY from_ts, to_ts ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ),
                begun
            ) AS from_ts,
            from_ts AS to_ts
        FROM (
            SELECT b.hold, b.from_ts, b.to_ts, h.from_ts AS begun
            FROM busy AS b
            JOIN holds AS h ON h.hold = b.hold
            UNION ALL
            SELECT hold, to_ts, to_ts, from_ts FROM holds
        ) AS marks
    ) AS b
    JOIN holds AS h ON h.hold = b.hold
    LEFT JOIN taken AS t ON t.namespace IS NOT DISTINCT FROM h.namespace AND t.pod = h.worker
    WHERE b.from_ts < b.to_ts
),
names AS (
    SELECT run_id, max(workflow) AS workflow
    FROM (
        SELECT run_id, workflow FROM jobs
        UNION ALL
        SELECT run_id, workflow FROM invocations
    ) AS told
    WHERE run_id IS NOT NULL AND workflow NOT LIKE '.github/workflows/%'
    GROUP BY run_id
    HAVING count(DISTINCT workflow) = 1
)
SELECT h.client_ip, h.namespace, h.pod, h.node, h.runner, s.from_ts,
    nullif(s.to_ts, TIMESTAMP '9999-12-31 00:00:00') AS to_ts, s.ci_repo,
    CASE WHEN s.workflow IS NULL OR s.workflow LIKE '.github/workflows/%' THEN coalesce(n.workflow, s.workflow)
        ELSE s.workflow END AS workflow,
    s.job, s.run_id
FROM (
    SELECT hold, from_ts, to_ts, ci_repo, workflow, job, run_id FROM busy
    UNION ALL
    SELECT hold, from_ts, to_ts, ci_repo, workflow, job, run_id FROM idle
) AS s
JOIN holds AS h ON h.hold = s.hold
LEFT JOIN names AS n ON n.run_id = s.run_id;
