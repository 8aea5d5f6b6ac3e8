-- Whose requests can be compared?
-- The observer (see `observer`), then the other that saw requests: of several the first by
-- `observer_preference`. `place` is 1 and 2. No row: the case has no requests (of that observer).
CREATE OR REPLACE MACRO observers(p_observer := NULL) AS TABLE
SELECT row_number() OVER (ORDER BY f.source <> o.source, observer_preference(f.source), f.source) AS place,
    f.source
FROM (SELECT DISTINCT source FROM file_status) AS f
CROSS JOIN observer(p_observer := p_observer) AS o
ORDER BY place
LIMIT 2;
