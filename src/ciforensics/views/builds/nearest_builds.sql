-- Which workflow's build was the last to start before each 401?
-- For each workflow the number of 401s before which its build was the nearest of `build_candidates`; of several
-- in one second each counts in part. It is what one would guess first, and mostly wrong where builds are many.
CREATE OR REPLACE MACRO nearest_builds(p_build_window_s := 320, p_offset_s := NULL, p_observer := NULL) AS TABLE
WITH nearest AS (
    SELECT second, build_id, 1 / count(*) OVER (PARTITION BY second) AS part
    FROM (
        SELECT second, build_id, after_start_s, min(after_start_s) OVER (PARTITION BY second) AS least
        FROM build_candidates(p_build_window_s := p_build_window_s, p_offset_s := p_offset_s, p_observer := p_observer)
    ) AS near
    WHERE after_start_s = least
),
asked AS (
    SELECT unix_seconds(ts) AS second, count(*) AS requests
    FROM observed_requests(p_observer := p_observer)
    WHERE status = 401
    GROUP BY unix_seconds(ts)
)
SELECT b.ci_repo, b.workflow, sum(a.requests * coalesce(n.part, 1.0)) AS requests
FROM asked AS a
LEFT JOIN nearest AS n ON n.second = a.second
LEFT JOIN builds AS b ON b.build_id = n.build_id
GROUP BY b.ci_repo, b.workflow
ORDER BY requests DESC, b.ci_repo, b.workflow;
