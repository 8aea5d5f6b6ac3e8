-- When was a source silent although it should have been busy?
-- A silence is the time between two seconds with rows of a source, a minute at least. Listed is one over ten times as
-- long as 95 % of its silences (`usual_s`), and one in which, going by how busy the other sources were, it should have
-- had 30 or more seconds with rows (`expected`). A log that was lost looks the same as a night without jobs.
CREATE OR REPLACE VIEW gaps AS
WITH seconds AS (
    SELECT source, ts, row_number() OVER (ORDER BY ts, source) AS nth
    FROM (
        SELECT DISTINCT source, date_trunc('second', ts) AS ts
        FROM moments
    ) AS distinct_seconds
),
silences AS (
    SELECT source, ts AS to_ts, lag(ts) OVER (PARTITION BY source ORDER BY ts) AS from_ts,
        nth - lag(nth) OVER (PARTITION BY source ORDER BY ts) - 1 AS others
    FROM seconds
),
measured AS (
    SELECT source, from_ts, to_ts, others, date_diff('second', from_ts, to_ts) AS silence_s,
        others * count(*) OVER (PARTITION BY source) / nullif(sum(others) OVER (PARTITION BY source), 0) AS expected
    FROM silences
    WHERE from_ts IS NOT NULL
),
usual AS (
    SELECT source, max(silence_s) AS usual_s
    FROM (
        SELECT source, silence_s, percent_rank() OVER (PARTITION BY source ORDER BY silence_s) AS rank
        FROM measured
    ) AS ranked
    WHERE rank <= 0.95
    GROUP BY source
)
SELECT m.source, m.from_ts, m.to_ts, m.silence_s, u.usual_s, round(coalesce(m.expected, 0), 1) AS expected
FROM measured AS m
JOIN usual AS u ON u.source = m.source
WHERE m.silence_s >= 60 AND (m.silence_s > 10 * u.usual_s OR m.expected >= 30)
ORDER BY m.source, m.from_ts;
