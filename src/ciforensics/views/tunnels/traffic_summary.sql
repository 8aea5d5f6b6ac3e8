-- How much went through the proxy, and how much of Docker's traffic went past the registry mirror?
-- One row, none without tunnels. The shares past the mirror are of the tunnels to registries and of the bytes that came down
-- from them (pulls; up are pushes); NULL where there are none. `sent_by_known` are tunnels whose workflow is known;
-- `denied` is NULL if no tunnel says how it ended.
CREATE OR REPLACE MACRO traffic_summary(p_mirror := NULL) AS TABLE
SELECT tunnels, hosts, bytes_up, bytes_down, coalesce(bytes_up, 0) + coalesce(bytes_down, 0) AS bytes,
    sent_by_known, sent_by_known / tunnels AS sent_by_known_share,
    CASE WHEN ended > 0 THEN denied END AS denied, ended AS outcome_known,
    registry_tunnels, past_tunnels, past_tunnels / nullif(registry_tunnels, 0) AS past_tunnel_share,
    registry_bytes_down, past_bytes_down, past_bytes_down / nullif(registry_bytes_down, 0) AS past_byte_share
FROM (
    SELECT count(*) AS tunnels, count(DISTINCT host) AS hosts, CAST(sum(bytes_up) AS BIGINT) AS bytes_up,
        CAST(sum(bytes_down) AS BIGINT) AS bytes_down, count(workflow) AS sent_by_known,
        count(outcome) AS ended, count(*) FILTER (WHERE outcome = 'denied') AS denied,
        count(*) FILTER (WHERE route IN ('mirror', 'past the mirror')) AS registry_tunnels,
        count(*) FILTER (WHERE route = 'past the mirror') AS past_tunnels,
        CAST(coalesce(sum(bytes_down) FILTER (WHERE route IN ('mirror', 'past the mirror')), 0) AS BIGINT)
            AS registry_bytes_down,
        CAST(coalesce(sum(bytes_down) FILTER (WHERE route = 'past the mirror'), 0) AS BIGINT) AS past_bytes_down
    FROM traffic(p_mirror := p_mirror)
) AS counted
WHERE tunnels > 0;
