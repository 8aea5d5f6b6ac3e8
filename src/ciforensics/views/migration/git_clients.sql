-- Which clients send the git requests, and how many of these are answered 401?
-- Requests to git-upload-pack and git-receive-pack by class (see `git_classes`), program, version and tag,
-- most first.
CREATE OR REPLACE MACRO git_clients(p_observer := NULL) AS TABLE
SELECT
    g.class, g.client, g.client_version, g.client_tag, counted.requests, counted.unauthorized,
    counted.unauthorized / counted.requests AS unauthorized_share, counted.first_ts, counted.last_ts
FROM (
    SELECT client, client_version, client_tag, count(*) AS requests,
        count(*) FILTER (WHERE status = 401) AS unauthorized, min(ts) AS first_ts, max(ts) AS last_ts
    FROM observed_requests(p_observer := p_observer)
    WHERE is_git(service)
    GROUP BY client, client_version, client_tag
) AS counted
JOIN git_classes AS g
    ON g.client IS NOT DISTINCT FROM counted.client
    AND g.client_version IS NOT DISTINCT FROM counted.client_version
    AND g.client_tag IS NOT DISTINCT FROM counted.client_tag
ORDER BY counted.requests DESC, g.class, g.client, g.client_version, g.client_tag;
