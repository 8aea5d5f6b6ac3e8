-- How many containers did each job create?
-- A row for each job that docker's events name: repository, workflow, job, run and pod, so that the legs of a matrix are
-- told apart where pods are. `whole`: the events cover all of it; not so where a container of its own was not seen to be
-- created and to end, or where its run began before the events or went on after them. Jobs without an event are not
-- listed: nobody knows whether they created none or ran where no events are kept.
CREATE OR REPLACE MACRO containers_per_job(p_repos := NULL) AS TABLE
WITH named AS (
    SELECT ci_repo, workflow, job, run_id, pod
    FROM docker_events
    WHERE run_id IS NOT NULL
    GROUP BY ci_repo, workflow, job, run_id, pod
),
made AS (
    SELECT job, run_id, pod, count(created_at) AS containers, sum(life_s) AS container_s,
        count(*) > count(life_s) AS cut
    FROM containers
    WHERE run_id IS NOT NULL
    GROUP BY job, run_id, pod
),
seen AS (
    SELECT run_id, min(from_ts) AS from_ts, max(to_ts) AS to_ts
    FROM (
        SELECT run_id, ts AS from_ts, ts AS to_ts FROM invocations
        UNION ALL
        SELECT run_id, started_at, completed_at FROM jobs
    ) AS signs
    WHERE run_id IS NOT NULL
    GROUP BY run_id
)
SELECT
    n.ci_repo, n.workflow, n.job, n.run_id, n.pod, coalesce(m.containers, 0) AS containers,
    coalesce(m.container_s, 0) AS container_s,
    NOT coalesce(m.cut, false) AND coalesce(s.from_ts >= l.first_ts, true) AND coalesce(s.to_ts <= l.last_ts, true)
        AS whole
FROM named AS n
CROSS JOIN (SELECT min(ts) AS first_ts, max(ts) AS last_ts FROM docker_events) AS l
LEFT JOIN made AS m
    ON m.run_id = n.run_id AND m.job IS NOT DISTINCT FROM n.job AND m.pod IS NOT DISTINCT FROM n.pod
LEFT JOIN seen AS s ON s.run_id = n.run_id
WHERE is_chosen(p_repos, n.ci_repo)
ORDER BY containers DESC, n.ci_repo, n.workflow, n.job, n.run_id, n.pod;
