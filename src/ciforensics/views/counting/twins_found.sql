-- Which files show one proxy's traffic twice, in two formats?
-- Two files of one source in different formats are twins if, where their times overlap, at least 95 % of the
-- rows of each find their like in the other within 2 s, and the overlap is most of the time of the smaller
-- one. Alike: a request's method, url and status, and user agent and client address if both files know any; a
-- tunnel's client, host, port and bytes down. Rows that are alike and never more than 2 s apart are a burst,
-- in which the n-th of one file is paired with the n-th of the other. Of large files a sample is compared,
-- some 5,000 rows (what is alike within five minutes stays together); `pairs` counts in it. The one left out
-- fills fewer columns, else has the coarser time, else was read last. GitHub's exports are no twins: they are
-- merged (see `surplus`). An ingest keeps what this says.
CREATE OR REPLACE VIEW twins_found AS
WITH pairs AS (
    SELECT f.file_id, twin.file_id AS twin_file_id,
        greatest(f.first_ts, twin.first_ts) - INTERVAL 2 SECOND AS from_ts,
        least(f.last_ts, twin.last_ts) + INTERVAL 2 SECOND AS to_ts,
        CASE WHEN f.rows <= twin.rows THEN date_diff('second', f.first_ts, f.last_ts)
            ELSE date_diff('second', twin.first_ts, twin.last_ts) END AS smaller_s
    FROM files AS f
    JOIN files AS twin ON twin.source = f.source AND twin.format <> f.format AND twin.file_id > f.file_id
    WHERE f.source <> 'github_csv'
        AND f.first_ts <= twin.last_ts + INTERVAL 2 SECOND AND twin.first_ts <= f.last_ts + INTERVAL 2 SECOND
),
overlapping AS (
    SELECT file_id, twin_file_id, from_ts, to_ts
    FROM pairs
    WHERE 2 * date_diff('second', from_ts, to_ts) >= smaller_s
),
candidates AS (
    SELECT file_id FROM overlapping UNION SELECT twin_file_id FROM overlapping
),
events AS NOT MATERIALIZED (
    SELECT file_id, line_no, ended, alike, user_agent, client_ip, ts_resolution_ms,
        CAST(hash(alike, unix_seconds(ended) // 300) >> 1 AS BIGINT) AS unit
    FROM (
        SELECT r.file_id, r.line_no,
            CASE r.ts_kind WHEN 'start' THEN r.ts + INTERVAL 1 MILLISECOND * coalesce(r.duration_ms, 0) ELSE r.ts END
                AS ended,
            hash('request', r.method, r.url, r.status) AS alike, r.user_agent, r.client_ip, r.ts_resolution_ms
        FROM requests AS r
        SEMI JOIN candidates AS c ON c.file_id = r.file_id
        UNION ALL
        SELECT t.file_id, t.line_no,
            CASE t.ts_kind WHEN 'start' THEN t.ts + INTERVAL 1 MILLISECOND * coalesce(t.duration_ms, 0) ELSE t.ts END,
            hash('tunnel', t.client_ip, t.host, t.port, t.bytes_down), NULL, NULL, t.ts_resolution_ms
        FROM tunnels AS t
        SEMI JOIN candidates AS c ON c.file_id = t.file_id
    ) AS both_kinds
),
profiles AS (
    SELECT file_id, count(*) AS events, approx_count_distinct(unit) AS units, count(user_agent) AS user_agents,
        count(client_ip) AS client_ips, max(ts_resolution_ms) AS ts_resolution_ms
    FROM events
    GROUP BY file_id
),
-- How much is compared of each pair: one in so many units; a unit is what is alike within five minutes.
sampled AS (
    SELECT p.file_id, p.twin_file_id, p.from_ts, p.to_ts,
        f.user_agents > 0 AND twin.user_agents > 0 AS by_user_agent,
        f.client_ips > 0 AND twin.client_ips > 0 AS by_client_ip,
        greatest(1, least(f.events // 5000, twin.events // 5000, f.units // 50, twin.units // 50)) AS one_in,
        greatest(1, least(f.events // 500, twin.events // 500, f.units // 50, twin.units // 50)) AS roughly_one_in
    FROM overlapping AS p
    JOIN profiles AS f ON f.file_id = p.file_id
    JOIN profiles AS twin ON twin.file_id = p.twin_file_id
),
sides AS (
    SELECT *, file_id AS side FROM sampled UNION ALL SELECT *, twin_file_id FROM sampled
),
-- Most pairs are two proxies' files: rough counts tell them apart before any row is compared.
likely AS (
    SELECT file_id, twin_file_id
    FROM (
        SELECT s.file_id, s.twin_file_id,
            count(*) FILTER (WHERE s.side = s.file_id) AS events,
            count(*) FILTER (WHERE s.side = s.twin_file_id) AS twin_events
        FROM sides AS s
        JOIN events AS e ON e.file_id = s.side AND e.ended BETWEEN s.from_ts AND s.to_ts
            AND e.unit % s.roughly_one_in = 0
        GROUP BY s.file_id, s.twin_file_id, e.alike
    ) AS counted
    GROUP BY file_id, twin_file_id
    HAVING sum(least(events, twin_events)) >= 0.5 * greatest(sum(events), sum(twin_events))
),
compared AS (
    SELECT s.file_id, s.twin_file_id, s.side, e.line_no, e.ended,
        hash(e.alike, CASE WHEN s.by_user_agent THEN e.user_agent END, CASE WHEN s.by_client_ip THEN e.client_ip END)
            AS alike
    FROM sides AS s
    JOIN likely AS l ON l.file_id = s.file_id AND l.twin_file_id = s.twin_file_id
    JOIN events AS e ON e.file_id = s.side AND e.ended BETWEEN s.from_ts AND s.to_ts AND e.unit % s.one_in = 0
),
starts AS (
    SELECT *,
        CASE WHEN ended <= lag(ended) OVER (
            PARTITION BY file_id, twin_file_id, alike ORDER BY ended, side, line_no
        ) + INTERVAL 2 SECOND THEN 0 ELSE 1 END AS starts_burst
    FROM compared
),
bursts AS (
    SELECT *, sum(starts_burst) OVER (
        PARTITION BY file_id, twin_file_id, alike ORDER BY ended, side, line_no ROWS UNBOUNDED PRECEDING
    ) AS burst
    FROM starts
),
numbered AS (
    SELECT *, row_number() OVER (
        PARTITION BY file_id, twin_file_id, side, alike, burst ORDER BY ended, line_no
    ) AS nth
    FROM bursts
),
matches AS (
    SELECT file_id, twin_file_id,
        count(*) FILTER (WHERE side = file_id) AS events, count(*) FILTER (WHERE side = twin_file_id) AS twin_events,
        max(ended) <= min(ended) + INTERVAL 2 SECOND AS near
    FROM numbered
    GROUP BY file_id, twin_file_id, alike, burst, nth
),
shares AS (
    SELECT file_id, twin_file_id, sum(events) AS events, sum(twin_events) AS twin_events,
        count(*) FILTER (WHERE events + twin_events = 2 AND near) AS pairs
    FROM matches
    GROUP BY file_id, twin_file_id
),
found AS (
    SELECT s.file_id, s.twin_file_id, s.pairs, s.pairs / greatest(s.events, s.twin_events) AS share,
        f.ts_resolution_ms, twin.ts_resolution_ms AS twin_resolution_ms
    FROM shares AS s
    JOIN profiles AS f ON f.file_id = s.file_id
    JOIN profiles AS twin ON twin.file_id = s.twin_file_id
    WHERE s.pairs >= 0.95 * s.events AND s.pairs >= 0.95 * s.twin_events
),
found_files AS (
    SELECT file_id FROM found UNION SELECT twin_file_id FROM found
),
filled AS (
    SELECT file_id, sum(n_columns) AS n_columns
    FROM (
        SELECT file_id,
            CAST(count(url) > 0 AS BIGINT) + CAST(count(query) > 0 AS BIGINT) + CAST(count(status) > 0 AS BIGINT)
            + CAST(count(user_agent) > 0 AS BIGINT) + CAST(count(authenticated) > 0 AS BIGINT)
            + CAST(count(request_bytes) > 0 AS BIGINT) + CAST(count(response_bytes) > 0 AS BIGINT)
            + CAST(count(duration_ms) > 0 AS BIGINT) + CAST(count(client_ip) > 0 AS BIGINT)
            + CAST(count(client_port) > 0 AS BIGINT) + CAST(count(request_id) > 0 AS BIGINT)
            + CAST(count(actor) > 0 AS BIGINT) AS n_columns
        FROM requests AS r
        SEMI JOIN found_files AS c ON c.file_id = r.file_id
        GROUP BY file_id
        UNION ALL
        SELECT file_id,
            CAST(count(bytes_up) > 0 AS BIGINT) + CAST(count(bytes_down) > 0 AS BIGINT)
            + CAST(count(duration_ms) > 0 AS BIGINT) + CAST(count(status) > 0 AS BIGINT)
            + CAST(count(result_code) > 0 AS BIGINT) + CAST(count(client_ip) > 0 AS BIGINT)
            + CAST(count(namespace) > 0 AS BIGINT) + CAST(count(pod) > 0 AS BIGINT) + CAST(count(node) > 0 AS BIGINT)
            + CAST(count(ci_repo) > 0 AS BIGINT) + CAST(count(workflow) > 0 AS BIGINT) + CAST(count(job) > 0 AS BIGINT)
            + CAST(count(run_id) > 0 AS BIGINT) + CAST(count(metadata) > 0 AS BIGINT)
        FROM tunnels AS t
        SEMI JOIN found_files AS c ON c.file_id = t.file_id
        GROUP BY file_id
    ) AS by_table
    GROUP BY file_id
)
SELECT s.file_id, s.twin_file_id,
    CASE
        WHEN f.n_columns < twin.n_columns THEN s.file_id
        WHEN f.n_columns > twin.n_columns THEN s.twin_file_id
        WHEN s.ts_resolution_ms > s.twin_resolution_ms THEN s.file_id
        ELSE s.twin_file_id
    END AS left_out_file_id,
    s.pairs, s.share
FROM found AS s
JOIN filled AS f ON f.file_id = s.file_id
JOIN filled AS twin ON twin.file_id = s.twin_file_id;
