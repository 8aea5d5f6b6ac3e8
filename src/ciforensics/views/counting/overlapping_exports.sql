-- Which of GitHub's exports overlap in time?
-- Each pair in both directions, with the time that both cover.
CREATE OR REPLACE VIEW overlapping_exports AS
SELECT
    f.file_id, other.file_id AS other_file_id,
    greatest(f.first_ts, other.first_ts) AS from_ts, least(f.last_ts, other.last_ts) AS to_ts
FROM files AS f
JOIN files AS other ON other.source = f.source AND other.file_id <> f.file_id
WHERE f.source = 'github_csv' AND f.first_ts <= other.last_ts AND other.first_ts <= f.last_ts;
