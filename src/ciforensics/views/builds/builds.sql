-- Which builds are known, from when to when?
-- Each docker build of the wrapper's log; and each job of GitHub's API whose run the wrapper never names, as a
-- build that starts with the job. `to_ts`: by when it was over, where something says so: its duration, else the
-- tag that its docker daemon gave the image (of a run with one such event), else the end of its job (of its
-- run's last job, where no runner is named). NULL: unknown.
CREATE OR REPLACE VIEW builds AS
WITH each_job AS (
    SELECT min(source) AS source, min(file_id) AS file_id, min(line_no) AS line_no, ci_repo, workflow, job, run_id, runner,
        started_at, max(completed_at) AS completed_at
    FROM jobs
    WHERE job IS NOT NULL
    GROUP BY ci_repo, workflow, job, run_id, run_attempt, runner, started_at
),
ended AS (
    SELECT run_id, runner, grouping(runner) AS all_runners, max(completed_at) + INTERVAL 1 SECOND AS to_ts
    FROM each_job
    WHERE run_id IS NOT NULL
    GROUP BY GROUPING SETS ((run_id, runner), (run_id))
    HAVING count(*) = count(completed_at)
),
tagged AS (
    SELECT run_id, min(ts) AS to_ts
    FROM docker_events
    WHERE type = 'image' AND action = 'tag' AND run_id IS NOT NULL
    GROUP BY run_id
    HAVING count(*) = 1
),
started AS (
    SELECT source, file_id, line_no, ts, ci_repo, workflow, job, run_id, coalesce(runner, pod) AS runner,
        ts + INTERVAL 1 MILLISECOND * (duration_ms + coalesce(ts_resolution_ms, 0)) AS to_ts
    FROM invocations
    WHERE command = 'build' AND ts IS NOT NULL
    UNION ALL
    SELECT j.source, j.file_id, j.line_no, j.started_at, j.ci_repo, j.workflow, j.job, j.run_id, j.runner, NULL
    FROM each_job AS j
    ANTI JOIN invocations AS i ON i.run_id = j.run_id
    WHERE j.started_at IS NOT NULL
)
SELECT
    row_number() OVER (ORDER BY s.ts, s.ci_repo, s.workflow, s.job, s.run_id, s.source, s.file_id, s.line_no) - 1 AS build_id,
    s.source, s.file_id, s.line_no, s.ts, s.ci_repo, s.workflow, s.job, s.run_id, s.runner,
    CASE WHEN coalesce(s.to_ts, t.to_ts, e.to_ts, r.to_ts) >= s.ts THEN coalesce(s.to_ts, t.to_ts, e.to_ts, r.to_ts) END AS to_ts
FROM started AS s
LEFT JOIN tagged AS t ON t.run_id = s.run_id AND t.to_ts >= s.ts
LEFT JOIN ended AS e ON e.run_id = s.run_id AND e.runner = s.runner AND e.all_runners = 0
LEFT JOIN ended AS r ON r.run_id = s.run_id AND r.all_runners = 1 AND s.runner IS NULL;
