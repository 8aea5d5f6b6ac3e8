-- Which docker builds could have sent the 401s?
-- For each second with 401s (`requests` of them) the runs with builds that started in the `p_window_s` before it,
-- and had not ended where their duration is known; all in whole seconds. `probability` is an equal share for each
-- build.
CREATE OR REPLACE MACRO build_candidates(p_window_s := 300, p_observer := NULL) AS TABLE
WITH seconds AS (
    SELECT second, count(*) AS requests, date_diff('second', TIMESTAMP '1970-01-01 00:00:00', second) AS at_s
    FROM (
        SELECT date_trunc('second', ts) AS second
        FROM observed_requests(p_observer := p_observer)
        WHERE status = 401 AND ts IS NOT NULL
    ) AS moments
    GROUP BY second
),
-- Numbered, as many seconds have many candidates.
runs AS (
    SELECT ci_repo, workflow, job, run_id, row_number() OVER () AS run
    FROM (SELECT DISTINCT ci_repo, workflow, job, run_id FROM invocations WHERE command = 'build') AS built
),
builds AS (
    SELECT r.run,
        date_diff('second', TIMESTAMP '1970-01-01 00:00:00', i.ts) AS from_s,
        date_diff('second', TIMESTAMP '1970-01-01 00:00:00',
            i.ts + INTERVAL 1 MILLISECOND * (i.duration_ms + coalesce(i.ts_resolution_ms, 0))) AS to_s
    FROM invocations AS i
    JOIN runs AS r
        ON r.ci_repo IS NOT DISTINCT FROM i.ci_repo AND r.workflow IS NOT DISTINCT FROM i.workflow
        AND r.job IS NOT DISTINCT FROM i.job AND r.run_id IS NOT DISTINCT FROM i.run_id
    WHERE i.command = 'build'
),
-- A build can match in its own stretch of p_window_s seconds and in the next: an equi-join, not a range join.
stretches AS (
    SELECT b.run, b.from_s, least(b.from_s + p_window_s, coalesce(b.to_s, b.from_s + p_window_s)) AS last_s,
        b.from_s // greatest(1, ceil(p_window_s)::BIGINT) + s.next_one AS stretch
    FROM builds AS b
    CROSS JOIN (VALUES (0), (1)) AS s(next_one)
),
counted AS (
    SELECT s.at_s, b.run, count(*) AS builds
    FROM seconds AS s
    JOIN stretches AS b ON b.stretch = s.at_s // greatest(1, ceil(p_window_s)::BIGINT)
        AND s.at_s >= b.from_s AND s.at_s <= b.last_s
    GROUP BY s.at_s, b.run
),
totals AS (
    SELECT at_s, sum(builds) AS builds FROM counted GROUP BY at_s
)
SELECT s.second, s.requests, r.ci_repo, r.workflow, r.job, r.run_id, c.builds, c.builds / t.builds AS probability
FROM counted AS c
JOIN totals AS t ON t.at_s = c.at_s
JOIN seconds AS s ON s.at_s = c.at_s
JOIN runs AS r ON r.run = c.run;
