-- What is in this case, and what of it could not be read?
-- For each source: records = rows + rejected + skipped. `redacted` counts secrets taken out.
CREATE OR REPLACE VIEW case_overview AS
SELECT
    source, count(*) AS files, sum(records)::BIGINT AS records, sum(rows)::BIGINT AS rows,
    sum(rejected)::BIGINT AS rejected, sum(skipped)::BIGINT AS skipped, sum(redacted)::BIGINT AS redacted,
    min(first_ts) AS first_ts, max(last_ts) AS last_ts
FROM files
GROUP BY source
ORDER BY source;
