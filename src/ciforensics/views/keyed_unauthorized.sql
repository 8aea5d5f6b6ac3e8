-- Which keys does each 401 carry, and where do they lead?
-- A row for each 401 (see `unauthorized`): its keys, a `pod` that had its address then (see `address_holders`), and the
-- run that a key names (see `exact_keys`); `basis` NULL: none does.
CREATE OR REPLACE MACRO keyed_unauthorized(p_observer := NULL) AS TABLE
SELECT u.source, u.file_id, f.path, u.line_no, u.ts, u.url, u.user_agent, u.outcome, u.client_ip, u.orchestration_id,
    h.pod, e.basis, e.ci_repo, e.workflow, e.job, e.run_id
FROM unauthorized(p_observer := p_observer) AS u
LEFT JOIN files AS f ON f.file_id = u.file_id
LEFT JOIN (
    SELECT ts, client_ip, max(pod) AS pod FROM address_holders(p_observer := p_observer) GROUP BY ts, client_ip
) AS h ON h.ts = u.ts AND h.client_ip = u.client_ip
LEFT JOIN exact_keys(p_observer := p_observer) AS e
    ON e.ts = u.ts AND e.client_ip IS NOT DISTINCT FROM u.client_ip
    AND e.orchestration_id IS NOT DISTINCT FROM u.orchestration_id;
