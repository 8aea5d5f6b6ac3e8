-- Which files show one proxy's traffic twice, as the ingest found?
-- Pairs of files as in `twins_found`, kept by the ingest; the poorer one is left out of the counts (see `left_out`).
CREATE OR REPLACE VIEW twins AS
SELECT t.file_id, t.twin_file_id, t.left_out_file_id, t.pairs, t.share, f.source, f.path, twin.path AS twin_path
FROM store.twins AS t
JOIN files AS f ON f.file_id = t.file_id
JOIN files AS twin ON twin.file_id = t.twin_file_id;
