-- Whose requests are counted?
-- One observer, never a sum: `p_observer`, or GitHub's own log if the case has one, else mitmproxy, else
-- Squid, else whatever there is. No row: the case has no requests (of that observer).
CREATE OR REPLACE MACRO observer(p_observer := NULL) AS TABLE
SELECT source
FROM file_status
WHERE p_observer IS NULL OR source = p_observer
GROUP BY source
ORDER BY CASE source WHEN 'github_csv' THEN 0 WHEN 'mitmproxy' THEN 1 WHEN 'squid' THEN 2 ELSE 3 END, source
LIMIT 1;
