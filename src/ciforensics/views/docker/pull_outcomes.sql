-- Which pulls failed or hung?
-- Each `docker pull` of the wrapper's log, `arrived`, `failed`, `no event` or `cannot tell`. An exit code decides where
-- there is one. Else docker's pull event of the same image must follow on the same runner, or in the same run where the
-- wrapper names no runner, within `p_pull_within_s`; one event speaks for one pull, the nearest without one before it (brackets,
-- as in `unauthorized`). Where the log does not name the image, any pull event does. A pull without such an event failed or
-- hung (`no event`) only where docker's events are known to cover place and time: they hold image events of this run, this
-- runner or another one of its scale set (same name up to Kubernetes' five last characters), in files whose events begin before
-- the pull and go on for the window after it. All else `cannot tell`; `why` says which.
CREATE OR REPLACE MACRO pull_outcomes(p_pull_within_s := 600, p_repos := NULL) AS TABLE
WITH image_events AS (
    SELECT DISTINCT file_id, regexp_replace(pod, '-[a-z0-9]{5}$', '') AS runners, run_id
    FROM docker_events
    WHERE type = 'image'
),
event_files AS (
    -- Not files' own times, which stay when a case is narrowed to a range.
    SELECT file_id, min(ts) AS first_ts, max(ts) AS last_ts FROM docker_events GROUP BY file_id
),
runner_sets AS (
    SELECT e.runners, min(f.first_ts) AS first_ts, max(f.last_ts) AS last_ts
    FROM image_events AS e
    JOIN event_files AS f ON f.file_id = e.file_id
    WHERE e.runners IS NOT NULL
    GROUP BY e.runners
),
runs AS (
    SELECT e.run_id, min(f.first_ts) AS first_ts, max(f.last_ts) AS last_ts
    FROM image_events AS e
    JOIN event_files AS f ON f.file_id = e.file_id
    WHERE e.run_id IS NOT NULL
    GROUP BY e.run_id
),
commands AS (
    SELECT p.*, row_number() OVER (ORDER BY p.ts, p.file_id, p.line_no) AS nth,
        CASE WHEN s.runners IS NOT NULL THEN 'runner ' || p.runner WHEN r.run_id IS NOT NULL THEN 'run ' || p.run_id END AS place,
        coalesce(s.first_ts, r.first_ts) AS first_ts, coalesce(s.last_ts, r.last_ts) AS last_ts
    FROM pulls AS p
    LEFT JOIN runner_sets AS s ON s.runners = regexp_replace(p.runner, '-[a-z0-9]{5}$', '')
    LEFT JOIN runs AS r ON r.run_id = p.run_id
    WHERE p.told_by = 'command'
),
steps AS (
    SELECT nth, ts, 1 AS step, place || ' ' || coalesce(image || coalesce('@' || image_digest, ':' || image_tag), '') AS key
    FROM commands
    WHERE coalesce(exit_code, 0) = 0
    UNION ALL
    SELECT DISTINCT NULL, e.ts, -1,
        CASE WHEN w.by_run THEN 'run ' || e.run_id ELSE 'runner ' || e.runner END || ' '
        || CASE WHEN w.any_image THEN '' ELSE e.image || coalesce('@' || e.image_digest, ':' || e.image_tag) END
    FROM pulls AS e
    CROSS JOIN (SELECT false AS by_run, false AS any_image UNION ALL SELECT false, true
        UNION ALL SELECT true, false UNION ALL SELECT true, true) AS w
    WHERE e.told_by = 'event'
),
heights AS (
    SELECT *, sum(step) OVER (PARTITION BY key ORDER BY ts, step DESC, nth ROWS UNBOUNDED PRECEDING) AS height
    FROM steps
    WHERE key IS NOT NULL AND ts IS NOT NULL
),
floors AS (
    SELECT *, least(0, min(height) OVER (
        PARTITION BY key ORDER BY ts, step DESC, nth ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) AS floor
    FROM heights
),
levels AS (
    SELECT *, height - floor + CASE step WHEN 1 THEN 0 ELSE 1 END AS level FROM floors
),
partners AS (
    SELECT nth, step, lead(ts) OVER (PARTITION BY key, level ORDER BY ts, step DESC, nth) AS event_ts FROM levels
),
followed AS (
    SELECT file_id, line_no, run_id, ts,
        lead(command) OVER later AS next_command, lead(ts) OVER later AS next_ts
    FROM invocations
    WHERE run_id IS NOT NULL
    WINDOW later AS (PARTITION BY run_id, job, coalesce(pod, runner) ORDER BY ts, file_id, line_no)
),
judged AS (
    SELECT c.*, date_diff('microsecond', c.ts, p.event_ts) / 1e6 AS event_after_s,
        f.next_command, date_diff('microsecond', c.ts, f.next_ts) / 1e6 AS next_after_s
    FROM commands AS c
    LEFT JOIN partners AS p ON p.nth = c.nth AND p.step = 1
    LEFT JOIN followed AS f ON f.file_id = c.file_id AND f.line_no = c.line_no AND f.run_id = c.run_id AND f.ts = c.ts
)
SELECT
    source, file_id, line_no, ts, ci_repo, workflow, job, run_id, runner, registry, image, image_tag, image_digest, exit_code,
    CASE
        WHEN exit_code <> 0 THEN 'failed'
        WHEN exit_code = 0 OR event_after_s <= p_pull_within_s THEN 'arrived'
        WHEN place IS NULL OR ts IS NULL OR ts < first_ts OR ts + INTERVAL 1 SECOND * p_pull_within_s > last_ts THEN 'cannot tell'
        ELSE 'no event'
    END AS outcome,
    CASE
        WHEN exit_code > 128 THEN 'ended by a signal: cancelled, or killed while it hung'
        WHEN exit_code IS NOT NULL THEN 'exit code'
        WHEN event_after_s <= p_pull_within_s THEN 'pull event'
        WHEN place IS NULL AND run_id IS NULL AND runner IS NULL THEN 'the log names neither runner nor run'
        WHEN place IS NULL THEN 'no docker events of its runner'
        WHEN ts IS NULL THEN 'no time'
        WHEN ts < first_ts THEN 'before docker events begin'
        WHEN ts + INTERVAL 1 SECOND * p_pull_within_s > last_ts THEN 'docker events end too soon after it'
        WHEN event_after_s IS NOT NULL THEN 'the pull event came too late'
        ELSE 'no pull event'
    END AS why,
    round(event_after_s, 3) AS event_after_s, next_command, round(next_after_s, 3) AS next_after_s
FROM judged
WHERE is_chosen(p_repos, ci_repo)
ORDER BY ts, file_id, line_no;
