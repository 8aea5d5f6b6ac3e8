-- How did containers and docker's own commands end?
-- By exit code: of containers as docker's events tell it, of commands where the wrapper waits for docker and logs it.
-- `out_of_memory` and `stopped` (docker was asked to stop or kill it) count containers; the other rows have none.
CREATE OR REPLACE MACRO docker_exits(p_repos := NULL) AS TABLE
SELECT
    what, exit_code,
    CASE
        WHEN exit_code = 0 THEN 'success'
        WHEN exit_code = 125 THEN 'docker itself failed: an image that did not arrive, a bad option'
        WHEN exit_code = 126 THEN 'the command is there and cannot be run'
        WHEN exit_code = 127 THEN 'the command is not in the image'
        WHEN exit_code = 130 THEN 'SIGINT: interrupted'
        WHEN exit_code = 137 THEN 'SIGKILL: out of memory, or stopped by force'
        WHEN exit_code = 139 THEN 'SIGSEGV: crashed'
        WHEN exit_code = 143 THEN 'SIGTERM: stopped as asked'
        WHEN exit_code BETWEEN 129 AND 192 THEN 'signal ' || (exit_code - 128)
        ELSE 'the program''s own'
    END AS meaning,
    ended, out_of_memory, stopped
FROM (
    SELECT what, exit_code, count(*) AS ended, count(*) FILTER (WHERE out_of_memory) AS out_of_memory,
        count(*) FILTER (WHERE stopped) AS stopped
    FROM (
        SELECT 'container' AS what, exit_code, ci_repo, ran_out_of_memory AS out_of_memory, was_stopped AS stopped FROM containers
        UNION ALL
        SELECT 'docker ' || command, exit_code, ci_repo, false, false FROM invocations
    ) AS each_end
    WHERE exit_code IS NOT NULL
        AND is_chosen(p_repos, ci_repo)
    GROUP BY what, exit_code
) AS ends
ORDER BY what, ended DESC, exit_code;
