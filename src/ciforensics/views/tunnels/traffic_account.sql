-- What did the proxy log, and what of it counts here?
-- Every record of the sources that log tunnels, once: tunnels that count, tunnels of a poorer twin (see `left_out`),
-- requests without a tunnel (plain HTTP; GitHub's question, not this one's), and what was skipped or rejected, by reason.
-- A request of a poorer twin is among the requests. Bytes are NULL where the log has none.
CREATE OR REPLACE VIEW traffic_account AS
WITH proxies AS (
    SELECT DISTINCT source FROM tunnels
    UNION
    SELECT 'squid'
)
SELECT what, reason, records, bytes_up, bytes_down
FROM (
    SELECT 1 AS place, 'tunnels' AS what, CAST(NULL AS VARCHAR) AS reason, count(*) AS records,
        CAST(sum(bytes_up) AS BIGINT) AS bytes_up, CAST(sum(bytes_down) AS BIGINT) AS bytes_down
    FROM observed_tunnels
    UNION ALL
    SELECT 2, 'tunnels left out', 'shown better by another file', a.records - o.records,
        CAST(coalesce(a.up, 0) - coalesce(o.up, 0) AS BIGINT), CAST(coalesce(a.down, 0) - coalesce(o.down, 0) AS BIGINT)
    FROM (SELECT count(*) AS records, sum(bytes_up) AS up, sum(bytes_down) AS down FROM tunnels) AS a
    CROSS JOIN (SELECT count(*) AS records, sum(bytes_up) AS up, sum(bytes_down) AS down FROM observed_tunnels) AS o
    UNION ALL
    SELECT 3, 'requests without a tunnel', NULL, count(*), CAST(sum(request_bytes) AS BIGINT),
        CAST(sum(response_bytes) AS BIGINT)
    FROM requests
    SEMI JOIN proxies ON proxies.source = requests.source
    UNION ALL
    SELECT 4, r.kind, r.reason, r.records, NULL, NULL
    FROM rejected_by_reason AS r
    SEMI JOIN proxies ON proxies.source = r.source
) AS parts
WHERE records > 0
ORDER BY place, records DESC, reason;
