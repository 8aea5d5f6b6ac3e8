-- Which keys does each 401 carry, and where do they lead?
-- A row for each 401 (see `unauthorized`), with `p_fetches` for each git fetch that got none too (see `answered_fetches`): its
-- keys, a `pod` that had its address then (see `address_holders`), and the run that a key names (see `exact_keys`);
-- `basis` NULL: none does.
CREATE OR REPLACE MACRO keyed_unauthorized(p_observer := NULL, p_fetches := false) AS TABLE
WITH asked AS (
    SELECT source, file_id, line_no, ts, url, user_agent, client, client_version, client_tag, outcome, client_ip,
        orchestration_id
    FROM unauthorized(p_observer := p_observer)
    UNION ALL
    SELECT source, file_id, line_no, ts, url, user_agent, client, client_version, client_tag, 'answered', client_ip,
        orchestration_id
    FROM answered_fetches(p_observer := p_observer)
    WHERE p_fetches
)
SELECT u.source, u.file_id, f.path, u.line_no, u.ts, u.url, u.user_agent, g.class, u.outcome, u.client_ip, u.orchestration_id,
    h.pod, e.basis, e.ci_repo, e.workflow, e.job, e.run_id
FROM asked AS u
LEFT JOIN files AS f ON f.file_id = u.file_id
LEFT JOIN git_classes AS g
    ON g.client IS NOT DISTINCT FROM u.client
    AND g.client_version IS NOT DISTINCT FROM u.client_version
    AND g.client_tag IS NOT DISTINCT FROM u.client_tag
LEFT JOIN (
    SELECT ts, client_ip, max(pod) AS pod
    FROM address_holders(p_observer := p_observer, p_fetches := p_fetches)
    GROUP BY ts, client_ip
) AS h ON h.ts = u.ts AND h.client_ip = u.client_ip
LEFT JOIN exact_keys(p_observer := p_observer, p_fetches := p_fetches) AS e
    ON e.ts = u.ts AND e.client_ip IS NOT DISTINCT FROM u.client_ip
    AND e.orchestration_id IS NOT DISTINCT FROM u.orchestration_id;
