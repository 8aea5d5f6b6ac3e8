-- Which workflows are the heaviest for docker?
-- By workflow: builds and pull commands of the wrapper's log, pull events, containers and the seconds that they lived (see
-- `containers`) of docker's events. NULL: the log does not name the workflow, which may run where none is kept.
CREATE OR REPLACE MACRO docker_workload(p_repos := NULL) AS TABLE
SELECT
    ci_repo, workflow, coalesce(ci_repo || ' · ' || workflow, ci_repo, workflow, 'not known') AS name,
    count(DISTINCT run_id) AS runs, sum(builds)::BIGINT AS builds, sum(pull_commands)::BIGINT AS pull_commands,
    sum(pull_events)::BIGINT AS pull_events, sum(containers)::BIGINT AS containers,
    round(sum(container_s), 1) AS container_s, sum(out_of_memory)::BIGINT AS out_of_memory
FROM (
    SELECT ci_repo, workflow, run_id, count(*) FILTER (WHERE command = 'build') AS builds,
        count(*) FILTER (WHERE command = 'pull') AS pull_commands,
        NULL AS pull_events, NULL AS containers, NULL AS container_s, NULL AS out_of_memory
    FROM invocations
    GROUP BY ci_repo, workflow, run_id
    UNION ALL
    SELECT DISTINCT ci_repo, workflow, NULL, NULL, NULL, 0, 0, 0, 0
    FROM docker_events
    UNION ALL
    SELECT ci_repo, workflow, run_id, NULL, NULL, count(DISTINCT ts), 0, 0, 0
    FROM pulls
    WHERE told_by = 'event'
    GROUP BY ci_repo, workflow, run_id
    UNION ALL
    SELECT ci_repo, workflow, run_id, NULL, NULL, 0, count(created_at), coalesce(sum(life_s), 0),
        count(*) FILTER (WHERE ran_out_of_memory)
    FROM containers
    GROUP BY ci_repo, workflow, run_id
) AS each_log
WHERE is_chosen(p_repos, ci_repo)
GROUP BY ci_repo, workflow
ORDER BY container_s DESC NULLS LAST, containers DESC NULLS LAST, builds DESC NULLS LAST, name;
