-- For which 401s does evidence share a key with a run?
-- By time, client address and orchestration id of the 401s; with `p_fetches` of all git requests too. `orchestration
-- id`: the user agent carries the id of a job that one run of the docker wrapper's log names too. `address`: a known
-- run's pod or tunnel held the client address then, and no other run's did (see `address_holders`).
CREATE OR REPLACE MACRO exact_keys(p_observer := NULL, p_fetches := false) AS TABLE
WITH asked AS (
    SELECT DISTINCT ts, client_ip, orchestration_id
    FROM observed_requests(p_observer := p_observer)
    WHERE (status = 401 OR p_fetches AND is_git(service)) AND ts IS NOT NULL
        AND (client_ip IS NOT NULL OR orchestration_id IS NOT NULL)
),
orchestrations AS (
    SELECT orchestration_id, max(ci_repo) AS ci_repo, max(workflow) AS workflow, max(job) AS job, max(run_id) AS run_id
    FROM (
        SELECT DISTINCT as_in_user_agent(orchestration_id) AS orchestration_id,
            ci_repo, workflow, job, run_id
        FROM invocations
        WHERE orchestration_id IS NOT NULL AND (run_id IS NOT NULL OR ci_repo IS NOT NULL)
    ) AS named
    GROUP BY orchestration_id
    HAVING count(*) = 1
),
addresses AS (
    SELECT ts, client_ip, max(ci_repo) AS ci_repo, max(workflow) AS workflow,
        CASE WHEN count(DISTINCT job) = 1 THEN max(job) END AS job, max(run_id) AS run_id
    FROM address_holders(p_observer := p_observer, p_fetches := p_fetches)
    WHERE run_id IS NOT NULL OR ci_repo IS NOT NULL
    GROUP BY ts, client_ip
    HAVING count(DISTINCT run_id) <= 1 AND count(DISTINCT ci_repo) <= 1 AND count(DISTINCT workflow) <= 1
)
SELECT a.ts, a.client_ip, a.orchestration_id,
    CASE WHEN o.orchestration_id IS NOT NULL THEN 'orchestration id' ELSE 'address' END AS basis,
    CASE WHEN o.orchestration_id IS NOT NULL THEN o.ci_repo ELSE h.ci_repo END AS ci_repo,
    CASE WHEN o.orchestration_id IS NOT NULL THEN o.workflow ELSE h.workflow END AS workflow,
    CASE WHEN o.orchestration_id IS NOT NULL THEN o.job ELSE h.job END AS job,
    CASE WHEN o.orchestration_id IS NOT NULL THEN o.run_id ELSE h.run_id END AS run_id
FROM asked AS a
LEFT JOIN orchestrations AS o
    ON o.orchestration_id = as_in_user_agent(a.orchestration_id)
LEFT JOIN addresses AS h ON h.ts = a.ts AND h.client_ip = a.client_ip
WHERE o.orchestration_id IS NOT NULL OR h.client_ip IS NOT NULL;
