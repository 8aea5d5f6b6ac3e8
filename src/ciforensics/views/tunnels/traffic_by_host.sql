-- Which hosts did the tunnels go to, and with how many bytes?
-- A row for each host, most bytes first; NULL: the log names none. Denied and failed tunnels count with the rest, and
-- their bytes are those of the CONNECT and of the proxy's own answer. Shares are of all tunnels and of all bytes.
CREATE OR REPLACE MACRO traffic_by_host(p_mirror := NULL) AS TABLE
SELECT host, route, registry, tunnels, denied, bytes_up, bytes_down,
    tunnels / sum(tunnels) OVER () AS tunnel_share,
    (coalesce(bytes_up, 0) + coalesce(bytes_down, 0))
        / nullif(sum(coalesce(bytes_up, 0) + coalesce(bytes_down, 0)) OVER (), 0) AS byte_share,
    first_ts, last_ts
FROM (
    SELECT host, route, registry, count(*) AS tunnels, count(*) FILTER (WHERE outcome = 'denied') AS denied,
        CAST(sum(bytes_up) AS BIGINT) AS bytes_up, CAST(sum(bytes_down) AS BIGINT) AS bytes_down,
        min(ts) AS first_ts, max(ts) AS last_ts
    FROM traffic(p_mirror := p_mirror)
    GROUP BY host, route, registry
) AS hosts
ORDER BY coalesce(bytes_up, 0) + coalesce(bytes_down, 0) DESC, tunnels DESC, host;
