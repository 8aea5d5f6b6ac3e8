-- When did each source see anything?
-- One row for each row of evidence that has a time; a job or a pod counts when it starts.
CREATE OR REPLACE VIEW moments AS
SELECT source, file_id, ts FROM requests WHERE ts IS NOT NULL
UNION ALL
SELECT source, file_id, ts FROM tunnels WHERE ts IS NOT NULL
UNION ALL
SELECT source, file_id, ts FROM invocations WHERE ts IS NOT NULL
UNION ALL
SELECT source, file_id, ts FROM docker_events WHERE ts IS NOT NULL
UNION ALL
SELECT source, file_id, started_at FROM jobs WHERE started_at IS NOT NULL
UNION ALL
SELECT source, file_id, from_ts FROM pods WHERE from_ts IS NOT NULL
UNION ALL
SELECT source, file_id, ts FROM audit_events WHERE ts IS NOT NULL;
