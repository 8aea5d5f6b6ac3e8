-- Which workflows' jobs always start together, so that no time can tell them apart?
-- A pair of jobs (`ci_repo`, `workflow`, `job`, and the same with `other_…`) of which 95 % of the builds of either
-- have a build of the other within two seconds. With fewer than three builds each that is chance too often: then
-- they must have as many builds, in the same seconds.
CREATE OR REPLACE VIEW always_together AS
WITH tasks AS (
    SELECT ci_repo, workflow, job, row_number() OVER (ORDER BY ci_repo, workflow, job) AS task,
        count(*) AS builds, string_agg(ts::VARCHAR, ' ' ORDER BY ts) AS times
    FROM builds
    WHERE ci_repo IS NOT NULL OR workflow IS NOT NULL
    GROUP BY ci_repo, workflow, job
),
starts AS (
    SELECT t.task, b.build_id, unix_seconds(b.ts) AS second
    FROM builds AS b
    JOIN tasks AS t ON t.ci_repo IS NOT DISTINCT FROM b.ci_repo AND t.workflow IS NOT DISTINCT FROM b.workflow
        AND t.job IS NOT DISTINCT FROM b.job
),
near AS (
    SELECT a.task, a.build_id, b.task AS other
    FROM (SELECT *, unnest([second // 3 - 1, second // 3, second // 3 + 1]) AS bucket FROM starts) AS a
    JOIN starts AS b ON b.second // 3 = a.bucket AND abs(b.second - a.second) <= 2 AND b.task <> a.task
),
met AS (
    SELECT n.task, n.other, count(DISTINCT n.build_id) AS builds
    FROM near AS n
    GROUP BY n.task, n.other
),
pairs AS (
    SELECT a.task, a.other
    FROM met AS a
    JOIN met AS b ON b.task = a.other AND b.other = a.task
    JOIN tasks AS t ON t.task = a.task
    JOIN tasks AS o ON o.task = a.other
    WHERE a.task < a.other AND least(t.builds, o.builds) >= 3
        AND a.builds >= 0.95 * t.builds AND b.builds >= 0.95 * o.builds
    UNION ALL
    SELECT t.task, o.task
    FROM tasks AS t
    JOIN tasks AS o ON o.times = t.times AND o.task > t.task
    WHERE t.builds < 3
)
SELECT t.ci_repo, t.workflow, t.job, o.ci_repo AS other_ci_repo, o.workflow AS other_workflow, o.job AS other_job, t.builds
FROM pairs AS p
JOIN tasks AS t ON t.task = p.task
JOIN tasks AS o ON o.task = p.other;
