-- When did Docker's traffic change between the registry mirror and the registries past it?
-- One row. `p_changed_at` if given, else the moment that sets the mirror's share before and after it most apart, by tunnels
-- to registries, in the order of their ends. `step` is how far the running count of the mirror's tunnels strays from a
-- steady share, in units of chance: without a change it is above 1.63 in one case of a hundred if tunnels were independent;
-- those of a build come together, so a moment is found only from 3 on.
CREATE OR REPLACE MACRO mirror_change(p_mirror := NULL, p_changed_at := NULL) AS TABLE
WITH seconds AS (
    SELECT ts, count(*) AS tunnels, count(*) FILTER (WHERE route = 'mirror') AS mirrored
    FROM traffic(p_mirror := p_mirror)
    WHERE route IN ('mirror', 'past the mirror') AND ts IS NOT NULL
    GROUP BY ts
),
running AS (
    SELECT ts, lead(ts) OVER (ORDER BY ts) AS next_ts, sum(tunnels) OVER (ORDER BY ts) AS n,
        sum(mirrored) OVER (ORDER BY ts) AS m, sum(tunnels) OVER () AS all_n, sum(mirrored) OVER () AS all_m
    FROM seconds
),
strayed AS (
    SELECT next_ts,
        abs(m - n * all_m / all_n) / nullif(sqrt(all_n * (all_m / all_n) * (1 - all_m / all_n)), 0) AS step
    FROM running
    WHERE next_ts IS NOT NULL
),
best AS (
    SELECT step, next_ts, row_number() OVER (ORDER BY step DESC, next_ts) AS place
    FROM strayed
    WHERE step >= 3
)
SELECT
    coalesce(CAST(p_changed_at AS TIMESTAMP), b.next_ts) AS changed_at,
    CASE WHEN p_changed_at IS NOT NULL THEN 'given' WHEN b.next_ts IS NOT NULL THEN 'the data' END AS found_by,
    CASE WHEN p_changed_at IS NULL THEN round(b.step, 1) END AS step
FROM (SELECT 1 AS place) AS one
LEFT JOIN best AS b ON b.place = one.place;
