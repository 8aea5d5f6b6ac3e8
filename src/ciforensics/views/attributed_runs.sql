-- How many 401s does each run account for, with which outcome and on which basis?
-- Expected numbers: a 401 counts for a run with its probability, as in `attributed_requests`, here second by
-- second.
CREATE OR REPLACE MACRO attributed_runs(p_window_s := 300, p_observer := NULL) AS TABLE
SELECT
    CASE WHEN u.basis IS NULL THEN b.ci_repo ELSE u.ci_repo END AS ci_repo,
    CASE WHEN u.basis IS NULL THEN b.workflow ELSE u.workflow END AS workflow,
    CASE WHEN u.basis IS NULL THEN b.run_id ELSE u.run_id END AS run_id,
    u.outcome, coalesce(u.basis, CASE WHEN b.second IS NULL THEN 'unattributed' ELSE 'build window' END) AS basis,
    sum(u.requests * coalesce(b.probability, 1.0)) AS requests
FROM unauthorized_seconds(p_observer := p_observer) AS u
LEFT JOIN build_candidates(p_window_s := p_window_s, p_observer := p_observer) AS b
    ON b.second = CASE WHEN u.basis IS NULL THEN u.second END
GROUP BY ALL;
