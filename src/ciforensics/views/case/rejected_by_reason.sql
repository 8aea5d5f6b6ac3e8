-- Which records could not be read or held nothing to report, and why?
-- `rejected` records were not understood and are kept in table rejected; `skipped` ones were understood and
-- hold nothing.
CREATE OR REPLACE VIEW rejected_by_reason AS
SELECT kind, source, reason, records, files
FROM (
    SELECT 'rejected' AS kind, source, reason, count(*) AS records, count(DISTINCT file_id) AS files
    FROM rejected
    GROUP BY source, reason
    UNION ALL
    SELECT 'skipped', source, reason, sum(records)::BIGINT, count(DISTINCT file_id)
    FROM skipped
    GROUP BY source, reason
) AS reasons
ORDER BY kind, records DESC, source, reason;
