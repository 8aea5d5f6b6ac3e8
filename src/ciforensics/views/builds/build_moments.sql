-- When did 401s come, and when did docker builds start?
-- A row for each of the observer's 401s (`event` 401) and for each docker build that `p_build_source` logged (`event` build):
-- whole seconds since 1970 (`second`), a number for what it is (`kind_hash`: of a 401 its url and user agent, of a build its
-- workflow), and one for the repository (`repo_hash`: asked for, or whose workflow it is). User agents that say that they
-- check out are left out, as a checkout comes before the build.
CREATE OR REPLACE MACRO build_moments(p_observer := NULL, p_build_source := 'docker_wrapper') AS TABLE
SELECT '401' AS event, unix_seconds(ts) AS second, hash(url, user_agent) AS kind_hash,
    hash(asked_repo) AS repo_hash
FROM observed_requests(p_observer := p_observer)
WHERE status = 401 AND ts IS NOT NULL AND coalesce(user_agent NOT ILIKE '%checkout%', true)
UNION ALL
SELECT 'build' AS event, unix_seconds(ts) AS second, hash(ci_repo, workflow) AS kind_hash,
    hash(coalesce(lower(ci_repo), '')) AS repo_hash
FROM invocations
WHERE command = 'build' AND ts IS NOT NULL AND source = p_build_source;
