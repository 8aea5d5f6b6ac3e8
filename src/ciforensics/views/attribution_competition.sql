-- How many workflows compete for a 401 that no key names the sender of?
-- The 401s without a key (see `unauthorized_seconds`) by the number of workflows with builds in the window before
-- them (see `build_candidates`).
CREATE OR REPLACE MACRO attribution_competition(p_window_s := 300, p_observer := NULL) AS TABLE
SELECT b.workflows, sum(u.requests)::BIGINT AS requests, sum(u.requests) / sum(sum(u.requests)) OVER () AS share
FROM unauthorized_seconds(p_observer := p_observer) AS u
JOIN (
    SELECT second, count(DISTINCT (ci_repo, workflow)) AS workflows
    FROM build_candidates(p_window_s := p_window_s, p_observer := p_observer)
    GROUP BY second
) AS b ON b.second = u.second
WHERE u.basis IS NULL
GROUP BY b.workflows
ORDER BY b.workflows;
