-- Who sent each 401, and how sure is that?
-- A row for each 401 and candidate; a 401's probabilities sum to 1. Exact where evidence shares a key (see
-- `exact_keys`, `basis` says which), else an equal share for each docker build in the window before it (see
-- `build_candidates`), else one row without a candidate, `unattributed`.
CREATE OR REPLACE MACRO attributed_requests(p_window_s := 300, p_observer := NULL) AS TABLE
SELECT
    u.source, u.file_id, f.path, u.line_no, u.ts, u.url, u.user_agent, u.outcome,
    CASE WHEN e.basis IS NULL THEN b.ci_repo ELSE e.ci_repo END AS ci_repo,
    CASE WHEN e.basis IS NULL THEN b.workflow ELSE e.workflow END AS workflow,
    CASE WHEN e.basis IS NULL THEN b.job ELSE e.job END AS job,
    CASE WHEN e.basis IS NULL THEN b.run_id ELSE e.run_id END AS run_id,
    coalesce(b.probability, 1.0) AS probability,
    coalesce(e.basis, CASE WHEN b.second IS NULL THEN 'unattributed' ELSE 'build window' END) AS basis
FROM unauthorized(p_observer := p_observer) AS u
LEFT JOIN files AS f ON f.file_id = u.file_id
LEFT JOIN exact_keys(p_observer := p_observer) AS e
    ON e.ts = u.ts AND e.client_ip IS NOT DISTINCT FROM u.client_ip
    AND e.orchestration_id IS NOT DISTINCT FROM u.orchestration_id
LEFT JOIN build_candidates(p_window_s := p_window_s, p_observer := p_observer) AS b
    ON b.second = CASE WHEN e.basis IS NULL THEN date_trunc('second', u.ts) END;
