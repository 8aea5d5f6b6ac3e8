-- Is each host the registry mirror, a registry past it, or no registry?
-- A row for each host of a tunnel, `route` NULL where the host is. `p_mirror`: the mirror's hosts, with commas between
-- them, `*` for anything; a URL such as dockerd's --registry-mirror has is fine. If none is given, the hosts whose first
-- label says mirror; if no name does, Artifact Registry's. `taken_by` says which. Any other of `registry_hosts` is past.
CREATE OR REPLACE MACRO tunnel_routes(p_mirror := NULL) AS TABLE
WITH given AS (
    SELECT DISTINCT replace(regexp_replace(
        regexp_replace(lower(trim(word)), '^[a-z]+://', ''), '[:/].*$', ''
    ), '*', '%') AS pattern
    FROM (SELECT unnest(string_split(coalesce(p_mirror, ''), ',')) AS word) AS words
    WHERE trim(word) <> ''
),
hosts AS (
    SELECT h.host, max(r.registry) AS registry, max(g.pattern) AS given,
        coalesce(regexp_matches(h.host, '^([a-z0-9-]*-)?mirror(-[a-z0-9-]*)?[.]'), FALSE) AS named,
        (SELECT count(*) FROM given) > 0 AS any_given
    FROM (SELECT DISTINCT host FROM observed_tunnels) AS h
    LEFT JOIN registry_hosts AS r ON h.host LIKE r.pattern
    LEFT JOIN given AS g ON h.host LIKE g.pattern
    GROUP BY h.host
),
taken AS (
    SELECT host, registry,
        CASE
            WHEN any_given THEN CASE WHEN given IS NOT NULL THEN 'given' END
            WHEN named THEN 'its name'
            WHEN registry = 'Artifact Registry' AND NOT bool_or(named) OVER () THEN 'Artifact Registry'
        END AS taken_by
    FROM hosts
)
SELECT host, registry, taken_by,
    CASE
        WHEN host IS NULL THEN NULL
        WHEN taken_by IS NOT NULL THEN 'mirror'
        WHEN registry IS NOT NULL THEN 'past the mirror'
        ELSE 'no registry'
    END AS route
FROM taken;
