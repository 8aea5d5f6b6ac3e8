-- How long did each container live, and how did it end?
-- A row for each container that docker's events name, however many streamers logged it. `life_s`: from create to its
-- last die; NULL where the log lacks one of them. `was_stopped`: docker was asked to stop or kill it. Whose it is: NULL
-- where the events of one container name several runs, as on a daemon that jobs share.
CREATE OR REPLACE VIEW containers AS
SELECT
    *, CASE WHEN died_at >= created_at THEN date_diff('microsecond', created_at, died_at) / 1e6 END AS life_s
FROM (
    SELECT
        object_id AS container_id, max(name) AS name, max(image) AS image, max(image_tag) AS image_tag,
        max(image_digest) AS image_digest,
        min(ts) FILTER (WHERE action = 'create') AS created_at,
        min(ts) FILTER (WHERE action = 'start') AS started_at,
        max(ts) FILTER (WHERE action IN ('die', 'died')) AS died_at,
        max_by(exit_code, ts) FILTER (WHERE action IN ('die', 'died')) AS exit_code,
        count(*) FILTER (WHERE action = 'oom') > 0 AS ran_out_of_memory,
        count(*) FILTER (WHERE action IN ('kill', 'stop')) > 0 AS was_stopped,
        CASE WHEN min(ci_repo) = max(ci_repo) THEN min(ci_repo) END AS ci_repo,
        CASE WHEN min(workflow) = max(workflow) THEN min(workflow) END AS workflow,
        CASE WHEN min(job) = max(job) THEN min(job) END AS job,
        CASE WHEN min(run_id) = max(run_id) THEN min(run_id) END AS run_id,
        CASE WHEN min(pod) = max(pod) THEN min(pod) END AS pod
    FROM docker_events
    WHERE type = 'container' AND object_id IS NOT NULL
    GROUP BY object_id
) AS one_each;
