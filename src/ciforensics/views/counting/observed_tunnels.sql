-- Which tunnels were there, each counted once?
-- One observer's: `p_observer`, else Squid, else whatever there is; the poorer of twins left out (see
-- `left_out`).
CREATE OR REPLACE MACRO observed_tunnels(p_observer := NULL) AS TABLE
SELECT t.*
FROM tunnels AS t
WHERE t.source = (
        SELECT source
        FROM tunnels
        WHERE p_observer IS NULL OR source = p_observer
        GROUP BY source
        ORDER BY CASE source WHEN 'squid' THEN 0 ELSE 1 END, source
        LIMIT 1
    )
    AND NOT EXISTS (
        SELECT 1 FROM left_out AS l WHERE l.file_id = t.file_id AND t.ts BETWEEN l.from_ts AND l.to_ts
    );
