-- When was a source silent for much longer than usual?
-- A silence is the time between two seconds with rows of a source. Much longer: at least a minute, and over
-- ten times as long as 95 % of its silences (`usual_s`). A log that was lost looks the same as a night
-- without jobs.
CREATE OR REPLACE VIEW gaps AS
WITH seconds AS (
    SELECT DISTINCT source, date_trunc('second', ts) AS ts
    FROM moments
),
silences AS (
    SELECT source, ts AS to_ts, lag(ts) OVER (PARTITION BY source ORDER BY ts) AS from_ts
    FROM seconds
),
measured AS (
    SELECT source, from_ts, to_ts, date_diff('second', from_ts, to_ts) AS silence_s
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
SELECT m.source, m.from_ts, m.to_ts, m.silence_s, u.usual_s
FROM measured AS m
JOIN usual AS u ON u.source = m.source
WHERE m.silence_s >= 60 AND m.silence_s > 10 * u.usual_s
ORDER BY m.source, m.from_ts;
