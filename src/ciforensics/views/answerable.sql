-- Which questions can this case answer, and what is missing for the others?
-- `answer` is yes, partly or no; `missing` names the sources that would help and `adds` what they would add.
-- It looks at what the case holds, not at whether it covers the same time (see `coverage`).
CREATE OR REPLACE VIEW answerable AS
WITH observed AS (
    SELECT
        count(*) > 0 AS requests, coalesce(sum(unauthorized), 0) > 0 AS unauthorized,
        coalesce(bool_or(only_401), false) AS some_only_401,
        coalesce(bool_or(answers > 0 AND NOT only_401), false) AS other_answers
    FROM file_status AS f
    SEMI JOIN observer() AS o ON o.source = f.source
),
held AS (
    SELECT
        (SELECT min(f.source) FROM file_status AS f ANTI JOIN observer() AS o ON o.source = f.source
            WHERE f.answers > 0 AND NOT f.only_401) AS other_observer,
        (SELECT count(*) FROM invocations WHERE command = 'build') > 0 AS builds,
        (SELECT count(*) FROM store.urls WHERE service IN ('git-upload-pack', 'git-receive-pack')) > 0 AS git,
        (SELECT count(*) FROM store.user_agents WHERE client IS NOT NULL) > 0 AS clients,
        (SELECT count(*) FROM invocations WHERE orchestration_id IS NOT NULL) > 0
            AND (SELECT count(orchestration_id) FROM requests) > 0 AS orchestrations,
        (SELECT count(*) FROM store.requests AS r JOIN file_status AS f ON f.file_id = r.file_id
            SEMI JOIN observer() AS o ON o.source = f.source
            WHERE r.client_ip IS NOT NULL) > 0 AS addresses,
        (SELECT count(*) FROM (
            SELECT client_ip FROM pods WHERE coalesce(run_id, ci_repo) IS NOT NULL
            UNION ALL
            SELECT client_ip FROM tunnels WHERE coalesce(run_id, ci_repo) IS NOT NULL
        ) AS holds WHERE client_ip IS NOT NULL) > 0 AS holders
)
SELECT question, title, answer,
    CASE WHEN answer <> 'yes' THEN missing END AS missing, CASE WHEN answer <> 'yes' THEN adds END AS adds
FROM (
    SELECT '01' AS question, 1 AS place, 'Where do the 401s come from?' AS title,
        CASE WHEN requests THEN 'yes' ELSE 'no' END AS answer,
        'github_csv or mitmproxy' AS missing,
        'requests with their status, url and user agent' AS adds
    FROM observed
    UNION ALL
    SELECT '01', 2, 'Which 401s are challenges, and which are refused?',
        CASE WHEN NOT other_answers THEN 'no' WHEN some_only_401 THEN 'partly' ELSE 'yes' END,
        CASE WHEN other_observer IS NULL THEN 'github_csv with all statuses, or mitmproxy'
            ELSE 'nothing: give the parameter observer=' || other_observer END,
        'the answers after a 401, which an export of 401s alone does not have'
    FROM observed, held
    UNION ALL
    SELECT '02', 3, 'Which workflow sent them?',
        CASE WHEN NOT requests OR NOT (builds OR addresses AND holders OR orchestrations) THEN 'no'
            WHEN addresses AND holders OR orchestrations THEN 'yes'
            ELSE 'partly' END,
        CASE WHEN NOT requests THEN 'github_csv or mitmproxy'
            WHEN NOT builds THEN 'docker_wrapper'
            WHEN NOT addresses THEN 'mitmproxy with client_ip, and squid with run_id'
            ELSE 'squid with run_id' END,
        CASE WHEN NOT requests THEN 'the 401s'
            WHEN NOT builds THEN 'the docker builds that were running'
            ELSE 'a shared key: exact instead of an equal share for each build nearby' END
    FROM observed, held
    UNION ALL
    SELECT '03', 4, 'How far is the migration?',
        CASE WHEN NOT (requests AND git AND clients AND other_answers) THEN 'no'
            WHEN some_only_401 THEN 'partly'
            ELSE 'yes' END,
        CASE WHEN other_answers OR NOT requests THEN 'github_csv or mitmproxy'
            WHEN other_observer IS NULL THEN 'github_csv with all statuses, or mitmproxy'
            ELSE 'nothing: give the parameter observer=' || other_observer END,
        CASE WHEN other_answers OR NOT requests THEN 'git requests with their user agent'
            ELSE 'what got no 401: golden images do not show up among 401s alone' END
    FROM observed, held
) AS questions
ORDER BY place;
