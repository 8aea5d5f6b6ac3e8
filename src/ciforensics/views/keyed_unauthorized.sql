-- Which run does a shared key name for each 401?
-- A row for each 401 (see `unauthorized`), with the run that a key names (see `exact_keys`); `basis` NULL: none does.
CREATE OR REPLACE MACRO keyed_unauthorized(p_observer := NULL) AS TABLE
SELECT u.source, u.file_id, f.path, u.line_no, u.ts, u.url, u.user_agent, u.outcome, u.client_ip,
    e.basis, e.ci_repo, e.workflow, e.job, e.run_id
FROM unauthorized(p_observer := p_observer) AS u
LEFT JOIN files AS f ON f.file_id = u.file_id
LEFT JOIN exact_keys(p_observer := p_observer) AS e
    ON e.ts = u.ts AND e.client_ip IS NOT DISTINCT FROM u.client_ip
    AND e.orchestration_id IS NOT DISTINCT FROM u.orchestration_id;
