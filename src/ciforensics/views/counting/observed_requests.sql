-- Which requests were there, each counted once?
-- One observer's (see `observer`), without the poorer of twins (see `left_out`) and without what a second
-- export of GitHub's repeats (see `surplus`).
CREATE OR REPLACE MACRO observed_requests(p_observer := NULL) AS TABLE
SELECT r.*
FROM requests AS r
SEMI JOIN observer(p_observer := p_observer) AS o ON o.source = r.source
ANTI JOIN left_out AS l ON l.file_id = r.file_id AND r.ts BETWEEN l.from_ts AND l.to_ts
ANTI JOIN surplus AS s ON s.file_id = r.file_id AND s.line_no = r.line_no;
