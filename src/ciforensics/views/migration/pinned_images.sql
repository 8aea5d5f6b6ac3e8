-- Which CI repositories name images that a mirror cannot replace: by digest, or of another registry?
-- A row for each repository of the latest Dockerfile scan (see `mirror_reach`): `images` are the base images that are
-- known, `pinned` those of them with a digest, `elsewhere` those of another registry. And one for each workflow whose docker events (of a run that the events or
-- the wrapper name the repository of) show images by name: pulls, and containers of an image that is named by digest; a
-- container of any other image may be of one that the job has built.
CREATE OR REPLACE VIEW pinned_images AS
WITH runs AS (
    SELECT run_id, max(ci_repo) AS ci_repo, max(workflow) AS workflow
    FROM invocations
    WHERE run_id IS NOT NULL AND ci_repo IS NOT NULL
    GROUP BY run_id
),
named AS (
    SELECT DISTINCT coalesce(e.ci_repo, r.ci_repo) AS ci_repo, coalesce(e.workflow, r.workflow) AS workflow,
        e.image, e.image_tag, e.image_digest
    FROM docker_events AS e
    LEFT JOIN runs AS r ON r.run_id = e.run_id
    WHERE e.image IS NOT NULL
        AND (e.type = 'image' AND e.action = 'pull'
            OR e.type = 'container' AND e.action = 'create' AND e.image_digest IS NOT NULL)
)
SELECT 'dockerfile_scan' AS source, ci_repo, CAST(NULL AS VARCHAR) AS workflow, images - unknown_images AS images, pinned, elsewhere
FROM mirror_reach
WHERE ci_repo IS NOT NULL AND images > unknown_images
UNION ALL
SELECT 'docker_events', ci_repo, workflow, count(*), count(image_digest), 0
FROM named
WHERE ci_repo IS NOT NULL
GROUP BY ci_repo, workflow;
