-- Which requests of two observers look alike?
-- Every timed row of `p_observer` (`is_other` false) and of `p_other`: `alike` is the same number where method, url,
-- status and user agent agree, as far as both observers know them. `at_s`, in seconds since 1970, is a request's end,
-- where its start and duration are known. `place` numbers an observer's rows in its own order, however its files run.
CREATE OR REPLACE MACRO comparable_requests(p_observer := NULL, p_other := 'mitmproxy') AS TABLE
WITH seen AS (
    SELECT *, false AS is_other FROM observed_requests(p_observer := p_observer) WHERE ts IS NOT NULL
    UNION ALL
    SELECT *, true AS is_other FROM observed_requests(p_observer := p_other) WHERE ts IS NOT NULL
),
known AS (
    SELECT min(methods) > 0 AS by_method, min(urls) > 0 AS by_url, min(statuses) > 0 AS by_status,
        min(user_agents) > 0 AS by_user_agent
    FROM (
        SELECT is_other, count(method) AS methods, count(url) AS urls, count(status) AS statuses,
            count(user_agent) AS user_agents
        FROM seen
        GROUP BY is_other
    ) AS counts
),
-- A log may be written newest first; within a second the lines then run backwards too.
directions AS (
    SELECT file_id, CASE WHEN corr(line_no, unix_micros(ts)) < 0 THEN -1 ELSE 1 END AS direction
    FROM seen
    GROUP BY file_id
)
SELECT
    b.is_other, b.file_id, b.line_no, b.response_bytes, b.client_ip, b.client_port,
    hash(
        CASE WHEN k.by_method THEN b.method END, CASE WHEN k.by_url THEN b.url END,
        CASE WHEN k.by_status THEN b.status END, CASE WHEN k.by_user_agent THEN coalesce(b.user_agent, '') END
    ) AS alike,
    unix_micros(b.ts) / 1000000 + CASE WHEN b.ts_kind = 'start' THEN coalesce(b.duration_ms, 0) / 1000 ELSE 0 END AS at_s,
    -- GitHub's exports may cut a day into pieces, so their time comes first. A proxy's lines are in the order of the
    -- answers, which times of whole seconds or of the start do not show.
    row_number() OVER (
        PARTITION BY b.is_other
        ORDER BY CASE WHEN b.is_other THEN NULL ELSE b.ts END, b.file_id, b.line_no * d.direction
    ) AS place
FROM seen AS b
JOIN directions AS d ON d.file_id = b.file_id
CROSS JOIN known AS k;
