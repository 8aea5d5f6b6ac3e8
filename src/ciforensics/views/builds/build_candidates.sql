-- Which builds could have sent a 401?
-- For each second with 401s (with `p_fetches`, with git requests too), the builds (see `builds`) that had started up to `p_build_window_s` before it and were
-- not known to be over, and the `after_start_s` from their start; all in whole seconds. `p_offset_s`: by so much is the
-- observer's clock ahead of the builds'.
CREATE OR REPLACE MACRO build_candidates(p_build_window_s := 320, p_offset_s := NULL, p_observer := NULL, p_fetches := false) AS TABLE
WITH seconds AS (
    SELECT DISTINCT unix_seconds(ts) AS second
    FROM observed_requests(p_observer := p_observer)
    WHERE (status = 401 OR p_fetches AND is_git(service)) AND ts IS NOT NULL
),
spans AS (
    SELECT build_id, unix_seconds(ts) + floor(coalesce(p_offset_s, 0))::BIGINT AS from_s,
        unix_seconds(to_ts) + ceil(coalesce(p_offset_s, 0))::BIGINT AS to_s
    FROM builds
),
-- A build can match in its own stretch of p_build_window_s seconds and in the next: an equi-join, not a range join.
stretches AS (
    SELECT b.build_id, b.from_s, least(b.from_s + p_build_window_s, coalesce(b.to_s, b.from_s + p_build_window_s)) AS last_s,
        b.from_s // greatest(1, ceil(p_build_window_s)::BIGINT) + s.next_one AS stretch
    FROM spans AS b
    CROSS JOIN (VALUES (0), (1)) AS s(next_one)
)
SELECT s.second, b.build_id, s.second - b.from_s AS after_start_s
FROM seconds AS s
JOIN stretches AS b ON b.stretch = s.second // greatest(1, ceil(p_build_window_s)::BIGINT)
    AND s.second >= b.from_s AND s.second <= b.last_s;
