-- Which stretches of which files are left out of the counts, because a twin shows the same traffic better?
-- The poorer twin, as long as the better one covers the time (2 s more, as clocks and roundings differ): what
-- only the poorer one saw still counts.
CREATE OR REPLACE VIEW left_out AS
SELECT
    t.left_out_file_id AS file_id,
    better.first_ts - INTERVAL 2 SECOND AS from_ts, better.last_ts + INTERVAL 2 SECOND AS to_ts
FROM store.twins AS t
JOIN files AS better
    ON better.file_id = CASE WHEN t.left_out_file_id = t.file_id THEN t.twin_file_id ELSE t.file_id END;
