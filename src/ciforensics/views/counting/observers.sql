-- Whose requests can be compared?
-- The observer (see `observer`), then the other that saw requests: of several GitHub's own log, else mitmproxy, else
-- Squid, else whatever there is. `place` is 1 and 2. No row: the case has no requests (of that observer).
CREATE OR REPLACE MACRO observers(p_observer := NULL) AS TABLE
SELECT row_number() OVER (ORDER BY f.source <> o.source, f.preference, f.source) AS place, f.source
FROM (
    SELECT source,
        CASE source WHEN 'github_csv' THEN 0 WHEN 'mitmproxy' THEN 1 WHEN 'squid' THEN 2 ELSE 3 END AS preference
    FROM file_status
    GROUP BY source
) AS f
CROSS JOIN observer(p_observer := p_observer) AS o
ORDER BY place
LIMIT 2;
