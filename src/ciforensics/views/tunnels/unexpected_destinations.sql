-- Which destinations would nobody expect?
-- A row for each host and port that is not the mirror and that no pattern of `p_expected` fits (commas between them, `*` for
-- anything; with a port, as in example.com:8443, or without), with `why`: a bare address; a port other than 443; first seen in the last quarter of the log's time
-- (`p_late`); rare, at most `p_rare` tunnels. The evidence is its first tunnel: who, which file, which line. The strangest
-- first, then what most went up to. A tunnel without a host has no destination to name (see `traffic_by_host`).
CREATE OR REPLACE MACRO unexpected_destinations(p_mirror := NULL, p_expected := NULL, p_late := 0.75, p_rare := 3) AS TABLE
WITH expected AS (
    SELECT replace(lower(trim(word)), '*', '%') AS pattern
    FROM (SELECT unnest(string_split(coalesce(p_expected, ''), ',')) AS word) AS words
    WHERE trim(word) <> ''
),
ordered AS (
    SELECT *, row_number() OVER (PARTITION BY host, port ORDER BY ts NULLS LAST, file_id, line_no) AS place,
        min(ts) OVER () AS log_from, max(ts) OVER () AS log_to
    FROM traffic(p_mirror := p_mirror)
),
destinations AS (
    SELECT host, port, CASE WHEN host LIKE '%:%' THEN '[' || host || ']' ELSE host END || coalesce(':' || port, '') AS destination,
        count(*) AS tunnels, CAST(sum(bytes_up) AS BIGINT) AS bytes_up,
        CAST(sum(bytes_down) AS BIGINT) AS bytes_down, count(*) FILTER (WHERE outcome = 'denied') AS denied,
        min(ts) AS first_ts, max(ts) AS last_ts,
        host LIKE '%:%' OR regexp_matches(host, '^[0-9]+([.][0-9]+)*$') AS bare, coalesce(port <> 443, FALSE) AS odd,
        date_diff('microsecond', min(log_from), min(ts))
            > p_late * date_diff('microsecond', min(log_from), min(log_to)) AS late
    FROM ordered
    WHERE host IS NOT NULL AND route <> 'mirror'
    GROUP BY host, port
),
judged AS (
    SELECT d.*, coalesce(late, FALSE) AS new, tunnels <= p_rare AS rare
    FROM destinations AS d
    WHERE NOT EXISTS (SELECT 1 FROM expected AS e WHERE d.host LIKE e.pattern OR d.destination LIKE e.pattern)
)
SELECT j.host, j.port, j.destination,
    concat_ws(', ', CASE WHEN j.bare THEN 'bare address' END, CASE WHEN j.odd THEN 'odd port' END,
        CASE WHEN j.new THEN 'first seen late' END, CASE WHEN j.rare THEN 'rare' END) AS why,
    j.tunnels, j.denied, j.bytes_up, j.bytes_down, j.first_ts, j.last_ts,
    o.pod, o.ci_repo, o.workflow, o.run_id, f.path, o.line_no
FROM judged AS j
JOIN ordered AS o ON o.host = j.host AND o.port IS NOT DISTINCT FROM j.port AND o.place = 1
JOIN files AS f ON f.file_id = o.file_id
WHERE j.bare OR j.odd OR j.new OR j.rare
ORDER BY CAST(j.bare AS INT) + CAST(j.odd AS INT) + CAST(j.new AS INT) + CAST(j.rare AS INT) DESC,
    j.bytes_up DESC, j.host, j.port;
