-- Which docker builds could have sent the 401s?
-- For each second with 401s (`requests` of them) the runs with builds that started in the `p_window_s` before
-- it, and had not ended where their duration is known; all in whole seconds. `probability` is an equal share
-- for each build.
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
builds AS (
    SELECT ci_repo, workflow, job, run_id,
        date_diff('second', TIMESTAMP '1970-01-01 00:00:00', ts) AS from_s,
        date_diff('second', TIMESTAMP '1970-01-01 00:00:00',
            ts + INTERVAL 1 MILLISECOND * (duration_ms + coalesce(ts_resolution_ms, 0))) AS to_s
    FROM invocations
    WHERE command = 'build'
),
-- A build can match in its own stretch of p_window_s seconds and in the next: an equi-join, not a range join.
stretches AS (
    SELECT b.*, from_s // greatest(1, ceil(p_window_s)::BIGINT) + s.next_one AS stretch
    FROM builds AS b
    CROSS JOIN (VALUES (0), (1)) AS s(next_one)
),
counted AS (
    SELECT s.second, s.requests, b.ci_repo, b.workflow, b.job, b.run_id, count(*) AS builds
    FROM seconds AS s
    JOIN stretches AS b ON b.stretch = s.at_s // greatest(1, ceil(p_window_s)::BIGINT)
        AND s.at_s >= b.from_s AND s.at_s <= b.from_s + p_window_s AND s.at_s <= coalesce(b.to_s, s.at_s)
    GROUP BY s.second, s.requests, b.ci_repo, b.workflow, b.job, b.run_id
)
SELECT *, builds / sum(builds) OVER (PARTITION BY second) AS probability
FROM counted;
