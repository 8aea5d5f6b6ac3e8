-- Which questions can this case answer, and what is missing for the others?
-- `notebook` says where, by its name; `answer` is yes, partly or no; `missing` names the sources that would help and `adds` what they would add.
-- It looks at what the case holds, not at whether it covers the same time (see `coverage`).
CREATE OR REPLACE VIEW answerable AS
WITH observed AS (
    SELECT
        -- A proxy that only passes tunnels on knows no status: what it logs says nothing of 401s.
        coalesce(sum(unauthorized + answers), 0) > 0 AS requests,
        coalesce(bool_or(only_401), false) AS some_only_401,
        coalesce(bool_or(answers > 0 AND NOT only_401), false) AS other_answers
    FROM file_status AS f
    SEMI JOIN observer() AS o ON o.source = f.source
),
held AS (
    SELECT
        (SELECT min(f.source) FROM file_status AS f ANTI JOIN observer() AS o ON o.source = f.source
            WHERE f.answers > 0 AND NOT f.only_401) AS other_observer,
        (SELECT count(DISTINCT source) FROM files WHERE rows > 0) AS n_sources,
        (SELECT count(DISTINCT source) FROM file_status) > 1 AS two_observers,
        (SELECT count(*) FROM builds) > 0 AS builds,
        (SELECT count(*) FROM invocations) > 0 AS commands,
        (SELECT count(exit_code) FROM invocations WHERE command = 'pull') > 0 AS exit_codes,
        (SELECT count(*) FROM docker_events) > 0 AS docker_events,
        (SELECT count(run_id) FROM docker_events) > 0 AS events_of_runs,
        (SELECT count(*) FROM tunnels) > 0 AS tunnelled,
        (SELECT count(*) FROM store.urls WHERE is_git(service)) > 0 AS git,
        (SELECT count(*) FROM store.user_agents WHERE client IS NOT NULL) > 0 AS clients,
        (SELECT count(*) FROM invocations WHERE orchestration_id IS NOT NULL) > 0
            AND (SELECT count(orchestration_id) FROM requests) > 0 AS orchestrations,
        -- What a proxy says of an address holds for the same request in GitHub's log too.
        (SELECT count(r.client_ip) FROM store.requests AS r JOIN file_status AS f ON f.file_id = r.file_id
            LEFT JOIN observer() AS o ON o.source = f.source
            WHERE o.source IS NOT NULL OR f.source = 'mitmproxy') > 0 AS addresses,
        (SELECT count(*) FROM (
            SELECT client_ip FROM pod_holds WHERE coalesce(run_id, ci_repo) IS NOT NULL
            UNION ALL
            SELECT client_ip FROM tunnels WHERE coalesce(run_id, ci_repo) IS NOT NULL
        ) AS holds WHERE client_ip IS NOT NULL) > 0 AS holders
)
SELECT notebook, question, answer,
    CASE WHEN answer <> 'yes' THEN missing END AS missing, CASE WHEN answer <> 'yes' THEN adds END AS adds
FROM (
    SELECT 'unauthorized' AS notebook, 1 AS place, 'Where do the 401s come from?' AS question,
        CASE WHEN requests THEN 'yes' ELSE 'no' END AS answer,
        'github_csv or mitmproxy' AS missing,
        'requests with their status, url and user agent' AS adds
    FROM observed
    UNION ALL
    SELECT 'unauthorized', 2, 'Which 401s are challenges, and which are refused?',
        CASE WHEN NOT other_answers THEN 'no' WHEN some_only_401 THEN 'partly' ELSE 'yes' END,
        CASE WHEN other_observer IS NULL THEN 'github_csv with all statuses, or mitmproxy'
            ELSE 'nothing: give the parameter observer=' || other_observer END,
        'the answers after a 401, which an export of 401s alone does not have'
    FROM observed, held
    UNION ALL
    SELECT 'links', 3, 'How do the logs fit together?',
        CASE WHEN n_sources < 2 THEN 'no' WHEN requests AND builds AND two_observers THEN 'yes' ELSE 'partly' END,
        CASE WHEN NOT requests THEN 'github_csv or mitmproxy'
            WHEN NOT builds THEN 'docker_wrapper, or jobs'
            ELSE 'mitmproxy beside github_csv' END,
        CASE WHEN NOT requests THEN 'the 401s'
            WHEN NOT builds THEN 'the runs that keys lead to'
            ELSE 'the same requests, seen by a second observer who knows addresses' END
    FROM observed, held
    UNION ALL
    SELECT 'attribution', 4, 'Which workflow sent them?',
        CASE WHEN NOT requests OR NOT (builds OR addresses AND holders OR orchestrations) THEN 'no'
            WHEN addresses AND holders OR orchestrations THEN 'yes'
            ELSE 'partly' END,
        CASE WHEN NOT requests THEN 'github_csv or mitmproxy'
            WHEN NOT builds THEN 'docker_wrapper, or jobs'
            WHEN NOT addresses THEN 'mitmproxy with client_ip, and who had the address: squid with run_id, or pods and jobs'
            ELSE 'squid with run_id, or pods and jobs' END,
        CASE WHEN NOT requests THEN 'the 401s'
            WHEN NOT builds THEN 'the builds that were running'
            ELSE 'shared keys: exact, where a model of times and urls gives probabilities' END
    FROM observed, held
    UNION ALL
    SELECT 'migration', 5, 'How far is the migration?',
        CASE WHEN NOT (requests AND git AND clients AND other_answers) THEN 'no'
            WHEN some_only_401 THEN 'partly'
            ELSE 'yes' END,
        CASE WHEN other_answers OR NOT requests THEN 'github_csv or mitmproxy'
            WHEN other_observer IS NULL THEN 'github_csv with all statuses, or mitmproxy'
            ELSE 'nothing: give the parameter observer=' || other_observer END,
        CASE WHEN other_answers OR NOT requests THEN 'git requests with their user agent'
            ELSE 'what got no 401: golden images do not show up among 401s alone' END
    FROM observed, held
    UNION ALL
    SELECT 'docker', 6, 'What does docker do?',
        CASE WHEN NOT (docker_events OR commands) THEN 'no' WHEN events_of_runs THEN 'yes' ELSE 'partly' END,
        'docker_events that name the run',
        CASE WHEN docker_events THEN 'whose pulls and containers they are' ELSE 'pulls, containers, exit codes, out of memory' END
    FROM held
    UNION ALL
    SELECT 'docker', 7, 'Which pulls failed or hung?',
        CASE WHEN NOT commands THEN 'no' WHEN exit_codes THEN 'yes' WHEN docker_events THEN 'partly' ELSE 'no' END,
        CASE WHEN commands THEN 'docker_wrapper that waits (exit_code), or docker_events of the same runners'
            ELSE 'docker_wrapper' END,
        CASE WHEN commands THEN 'how a pull ended; without exit codes a missing event is the only sign'
            ELSE 'the pulls that were asked for: one that fails leaves no event' END
    FROM held
    UNION ALL
    SELECT 'traffic', 8, 'Where do the bytes go?',
        CASE WHEN NOT tunnelled THEN 'no' WHEN holders THEN 'yes' ELSE 'partly' END,
        CASE WHEN tunnelled THEN 'squid with run_id, or pods and jobs' ELSE 'squid' END,
        CASE WHEN tunnelled THEN 'which workflow opened a tunnel' ELSE 'tunnels, with their hosts and bytes' END
    FROM held
) AS questions
ORDER BY place;
