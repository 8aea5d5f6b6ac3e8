-- Which files show one proxy's traffic twice, in two formats?
-- Two files of one source in different formats are twins if, where their times overlap, at least 95 % of the rows of each
-- find their like in the other within 2 s, and the overlap holds most of the smaller one. Alike: a request's method,
-- url and status, and user agent and client address if both files know any; a tunnel's client, host, port and bytes
-- down. Rows that are alike and never more than 2 s apart are a burst, in which the n-th of one file is paired with the
-- n-th of the other. The one left out fills fewer columns, else has the coarser time, else was read last. GitHub's
-- exports are no twins: they are merged (see `surplus`). An ingest keeps what `twins_found` says.
CREATE OR REPLACE VIEW twins_found AS
WITH pairs AS (
    SELECT f.file_id, twin.file_id AS twin_file_id,
        greatest(f.first_ts, twin.first_ts) - INTERVAL 2 SECOND AS from_ts,
        least(f.last_ts, twin.last_ts) + INTERVAL 2 SECOND AS to_ts
    FROM files AS f
    JOIN files AS twin ON twin.source = f.source AND twin.format <> f.format AND twin.file_id > f.file_id
    WHERE f.source <> 'github_csv'
        AND f.first_ts <= twin.last_ts + INTERVAL 2 SECOND AND twin.first_ts <= f.last_ts + INTERVAL 2 SECOND
),
candidates AS (
    SELECT file_id FROM pairs UNION SELECT twin_file_id FROM pairs
),
events AS (
    SELECT r.file_id, r.line_no,
        CASE r.ts_kind WHEN 'start' THEN r.ts + INTERVAL 1 MILLISECOND * coalesce(r.duration_ms, 0) ELSE r.ts END AS ended,
        'request' AS kind, r.method AS first_key, r.url AS second_key, CAST(r.status AS BIGINT) AS third_key,
        r.user_agent, r.client_ip, r.ts_resolution_ms
    FROM requests AS r
    SEMI JOIN candidates AS c ON c.file_id = r.file_id
    UNION ALL
    SELECT t.file_id, t.line_no,
        CASE t.ts_kind WHEN 'start' THEN t.ts + INTERVAL 1 MILLISECOND * coalesce(t.duration_ms, 0) ELSE t.ts END,
        'tunnel', t.host, CAST(t.port AS VARCHAR), t.bytes_down,
        NULL, t.client_ip, t.ts_resolution_ms
    FROM tunnels AS t
    SEMI JOIN candidates AS c ON c.file_id = t.file_id
),
profiles AS (
    SELECT file_id, count(*) AS events, count(user_agent) AS user_agents, count(client_ip) AS client_ips,
        max(ts_resolution_ms) AS ts_resolution_ms
    FROM events
    GROUP BY file_id
),
-- Most pairs are two proxies' files: rough counts tell them apart before any row is compared.
sketches AS (
    SELECT file_id, date_trunc('hour', ended) AS hour, hash(kind, first_key, second_key, third_key) % 256 AS slot,
        count(*) AS events
    FROM events
    GROUP BY ALL
),
likely AS (
    SELECT p.file_id, p.twin_file_id, p.from_ts, p.to_ts
    FROM pairs AS p
    JOIN profiles AS f ON f.file_id = p.file_id
    JOIN profiles AS twin ON twin.file_id = p.twin_file_id
    LEFT JOIN (
        SELECT one.file_id, other.file_id AS twin_file_id, sum(least(one.events, other.events)) AS events
        FROM sketches AS one
        JOIN sketches AS other ON other.hour = one.hour AND other.slot = one.slot AND other.file_id > one.file_id
        GROUP BY one.file_id, other.file_id
    ) AS shared ON shared.file_id = p.file_id AND shared.twin_file_id = p.twin_file_id
    WHERE least(f.events, twin.events) < 1000 OR shared.events >= 0.4 * least(f.events, twin.events)
),
sides AS (
    SELECT file_id, twin_file_id, file_id AS side, from_ts, to_ts FROM likely
    UNION ALL
    SELECT file_id, twin_file_id, twin_file_id, from_ts, to_ts FROM likely
),
compared AS (
    SELECT s.file_id, s.twin_file_id, s.side, e.line_no, e.ended, e.kind, e.first_key, e.second_key, e.third_key,
        CASE WHEN f.user_agents > 0 AND twin.user_agents > 0 THEN e.user_agent END AS user_agent,
        CASE WHEN f.client_ips > 0 AND twin.client_ips > 0 THEN e.client_ip END AS client_ip
    FROM sides AS s
    JOIN profiles AS f ON f.file_id = s.file_id
    JOIN profiles AS twin ON twin.file_id = s.twin_file_id
    JOIN events AS e ON e.file_id = s.side AND e.ended BETWEEN s.from_ts AND s.to_ts
),
starts AS (
    SELECT *, CASE WHEN ended <= lag(ended) OVER alike + INTERVAL 2 SECOND THEN 0 ELSE 1 END AS starts_burst
    FROM compared
    WINDOW alike AS (
        PARTITION BY file_id, twin_file_id, kind, first_key, second_key, third_key, user_agent, client_ip
        ORDER BY ended, side, line_no
    )
),
bursts AS (
    SELECT *, sum(starts_burst) OVER (
        PARTITION BY file_id, twin_file_id, kind, first_key, second_key, third_key, user_agent, client_ip
        ORDER BY ended, side, line_no ROWS UNBOUNDED PRECEDING
    ) AS burst
    FROM starts
),
numbered AS (
    SELECT *, row_number() OVER (
        PARTITION BY file_id, twin_file_id, side, kind, first_key, second_key, third_key, user_agent, client_ip, burst
        ORDER BY ended, line_no
    ) AS nth
    FROM bursts
),
matches AS (
    SELECT file_id, twin_file_id,
        count(*) FILTER (WHERE side = file_id) AS events, count(*) FILTER (WHERE side = twin_file_id) AS twin_events,
        max(ended) <= min(ended) + INTERVAL 2 SECOND AS close
    FROM numbered
    GROUP BY file_id, twin_file_id, kind, first_key, second_key, third_key, user_agent, client_ip, burst, nth
),
shares AS (
    SELECT file_id, twin_file_id, sum(events) AS events, sum(twin_events) AS twin_events,
        count(*) FILTER (WHERE events + twin_events = 2 AND close) AS pairs
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
        AND CASE WHEN f.events <= twin.events THEN s.events > 0.5 * f.events
            ELSE s.twin_events > 0.5 * twin.events END
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
        SEMI JOIN candidates AS c ON c.file_id = r.file_id
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
        SEMI JOIN candidates AS c ON c.file_id = t.file_id
        GROUP BY file_id
    ) AS by_table
    GROUP BY file_id
)
SELECT s.file_id, s.twin_file_id,
    CASE
        WHEN f.n_columns <> twin.n_columns THEN CASE WHEN f.n_columns < twin.n_columns THEN s.file_id ELSE s.twin_file_id END
        WHEN s.ts_resolution_ms > s.twin_resolution_ms THEN s.file_id
        ELSE s.twin_file_id
    END AS left_out_file_id,
    s.pairs, s.share
FROM found AS s
JOIN filled AS f ON f.file_id = s.file_id
JOIN filled AS twin ON twin.file_id = s.twin_file_id;

CREATE OR REPLACE VIEW twins AS
SELECT t.file_id, t.twin_file_id, t.left_out_file_id, t.pairs, t.share, f.source, f.path, twin.path AS twin_path
FROM store.twins AS t
JOIN files AS f ON f.file_id = t.file_id
JOIN files AS twin ON twin.file_id = t.twin_file_id;
