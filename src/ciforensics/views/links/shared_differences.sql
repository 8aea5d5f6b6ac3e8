-- By how many seconds do the times of two observers differ, where their requests look alike?
-- For each whole second (`difference_s`: the observer's time minus the other's) the number of pairs (`pairs`) that look
-- alike (see `comparable_requests`) and are that far apart, up to `p_reach_s` either way. Of the other's rows those are
-- taken that look like the fewest of the observer's, at most `p_most_rows`, with at most `p_most_pairs` pairs.
CREATE OR REPLACE MACRO shared_differences(
    p_observer := NULL, p_other := 'mitmproxy', p_reach_s := 52200, p_most_rows := 400, p_most_pairs := 2000000
) AS TABLE
WITH comparable AS MATERIALIZED (
    SELECT *, CAST(floor(at_s / p_reach_s) AS BIGINT) AS stretch
    FROM comparable_requests(p_observer := p_observer, p_other := p_other)
),
counts AS (
    SELECT alike, count(*) AS observed FROM comparable WHERE NOT is_other GROUP BY alike
),
rarest AS (
    SELECT c.alike, c.stretch, c.at_s,
        row_number() OVER (ORDER BY n.observed, hash(c.place)) AS nth,
        sum(n.observed) OVER (ORDER BY n.observed, hash(c.place)) AS pairs
    FROM comparable AS c
    JOIN counts AS n ON n.alike = c.alike
    WHERE c.is_other
),
others AS (
    SELECT r.alike, r.at_s, r.stretch + n.nearby AS stretch
    FROM rarest AS r
    CROSS JOIN (VALUES (-1), (0), (1)) AS n(nearby)
    WHERE r.nth <= p_most_rows AND r.pairs <= p_most_pairs
)
SELECT CAST(floor(c.at_s - o.at_s + 0.5) AS BIGINT) AS difference_s, count(*) AS pairs
FROM others AS o
JOIN comparable AS c ON c.alike = o.alike AND c.stretch = o.stretch
    AND NOT c.is_other AND abs(c.at_s - o.at_s) <= p_reach_s
GROUP BY 1;
