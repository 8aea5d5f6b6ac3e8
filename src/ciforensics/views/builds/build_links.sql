-- What do the other sources say of the builds?
-- Builds (see `builds`) by the source that saw them start: how many have a run id, a runner, docker events and a job
-- of GitHub's API with the same run id, and how many are known to be over by when (`with_end`).
CREATE OR REPLACE VIEW build_links AS
SELECT b.source, count(*) AS builds, count(b.run_id) AS with_run_id, count(b.runner) AS with_runner,
    count(e.run_id) AS with_docker_events, count(j.run_id) AS with_job, count(b.to_ts) AS with_end
FROM builds AS b
LEFT JOIN (SELECT DISTINCT run_id FROM docker_events) AS e ON e.run_id = b.run_id
LEFT JOIN (SELECT DISTINCT run_id FROM jobs) AS j ON j.run_id = b.run_id
GROUP BY b.source
ORDER BY b.source;
