-- What does docker do, in one line?
-- One row: pull commands by outcome (see `pull_outcomes`), containers created and those that ran out of memory, and the
-- jobs that docker's events name; `jobs_partly`: those not covered as a whole (see `containers_per_job`), `jobs_unseen`:
-- jobs of the wrapper's log without a docker event. `pulls` is NULL where the case has no log about docker.
CREATE OR REPLACE MACRO docker_summary(p_pull_within_s := 600, p_repos := NULL) AS TABLE
SELECT
    CASE WHEN (SELECT count(*) FROM invocations) + (SELECT count(*) FROM docker_events) > 0 THEN pulls END AS pulls,
    arrived, failed, no_event, cannot_tell, containers, out_of_memory, jobs, jobs_partly, jobs_unseen
FROM (
    SELECT count(*) AS pulls,
        count(*) FILTER (WHERE outcome = 'arrived') AS arrived, count(*) FILTER (WHERE outcome = 'failed') AS failed,
        count(*) FILTER (WHERE outcome = 'no event') AS no_event,
        count(*) FILTER (WHERE outcome = 'cannot tell') AS cannot_tell
    FROM pull_outcomes(p_pull_within_s := p_pull_within_s, p_repos := p_repos)
) AS told
CROSS JOIN (
    SELECT count(created_at) AS containers, count(*) FILTER (WHERE ran_out_of_memory) AS out_of_memory
    FROM containers
    WHERE is_chosen(p_repos, ci_repo)
) AS made
CROSS JOIN (
    SELECT count(*) AS jobs, count(*) FILTER (WHERE NOT whole) AS jobs_partly
    FROM containers_per_job(p_repos := p_repos)
) AS named
CROSS JOIN (
    SELECT count(*) AS jobs_unseen
    FROM (
        SELECT DISTINCT i.job, i.run_id
        FROM invocations AS i
        ANTI JOIN docker_events AS e ON e.run_id = i.run_id
        WHERE i.run_id IS NOT NULL
            AND is_chosen(p_repos, i.ci_repo)
    ) AS unseen
) AS others;
