-- How many 401s came in each second, and of which run are they known to be?
-- By outcome (see `unauthorized`) and by the run that a shared key names (see `exact_keys`); `basis` NULL: no key.
CREATE OR REPLACE MACRO unauthorized_seconds(p_observer := NULL) AS TABLE
SELECT date_trunc('second', u.ts) AS second, u.outcome, e.basis, e.ci_repo, e.workflow, e.run_id, count(*) AS requests
FROM unauthorized(p_observer := p_observer) AS u
LEFT JOIN exact_keys(p_observer := p_observer) AS e
    ON e.ts = u.ts AND e.client_ip IS NOT DISTINCT FROM u.client_ip
    AND e.orchestration_id IS NOT DISTINCT FROM u.orchestration_id
GROUP BY date_trunc('second', u.ts), u.outcome, e.basis, e.ci_repo, e.workflow, e.run_id;
