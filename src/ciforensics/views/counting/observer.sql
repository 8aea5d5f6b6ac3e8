-- Whose requests are counted?
-- One observer, never a sum: `p_observer`, or GitHub's own log if the case has one, else mitmproxy, else
-- Squid, else whatever there is (see `observer_preference`). No row: the case has no requests (of that observer).
CREATE OR REPLACE MACRO observer(p_observer := NULL) AS TABLE
SELECT source
FROM file_status
WHERE p_observer IS NULL OR source = p_observer
GROUP BY source
ORDER BY observer_preference(source), source
LIMIT 1;
