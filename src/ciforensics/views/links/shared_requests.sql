-- Which rows of two observers may be the same request?
-- Every pair of a row of `p_observer` and a row of `p_other` that look alike (see `comparable_requests`) and are near:
-- `lag_s`, how much later the observer saw it than the other saw its end, is within `p_seen_within_s` once the
-- observer's clock, `p_offset_s` ahead, is put right. `place` and `other_place` are where they stand in their logs,
-- `more_bytes` is the observer's size minus the other's, `share` the share of the observer's rows that look the same.
CREATE OR REPLACE MACRO shared_requests(
    p_observer := NULL, p_other := 'mitmproxy', p_offset_s := NULL, p_seen_within_s := 2
) AS TABLE
WITH comparable AS MATERIALIZED (
    FROM comparable_requests(p_observer := p_observer, p_other := p_other)
),
observed AS (
    SELECT *, at_s - coalesce(p_offset_s, 0) AS right_s FROM comparable WHERE NOT is_other
),
-- What is within p_seen_within_s is in the same stretch of so many seconds or in the next: an equi-join, no range join.
others AS (
    SELECT c.*, CAST(floor(at_s / p_seen_within_s) AS BIGINT) + n.nearby AS stretch
    FROM comparable AS c
    CROSS JOIN (VALUES (-1), (0), (1)) AS n(nearby)
    WHERE c.is_other
),
shares AS (
    SELECT alike, count(*) / sum(count(*)) OVER () AS share FROM observed GROUP BY alike
)
SELECT
    o.file_id, o.line_no, o.place, s.file_id AS other_file_id, s.line_no AS other_line_no, s.place AS other_place,
    s.client_ip, s.client_port, o.right_s - s.at_s AS lag_s, o.response_bytes - s.response_bytes AS more_bytes, h.share
FROM others AS s
JOIN observed AS o ON o.alike = s.alike AND CAST(floor(o.right_s / p_seen_within_s) AS BIGINT) = s.stretch
    AND abs(o.right_s - s.at_s) <= p_seen_within_s
JOIN shares AS h ON h.alike = o.alike;
