-- Which workflows' pulls failed or hung, of which images?
-- Of `pull_outcomes` those without an arrival: `failed` by exit code, `no_event` where docker's event is missing although
-- it should be there. `judged` are all pulls of the workflow and image that can be told. `image` NULL: not in the log.
CREATE OR REPLACE MACRO failed_pulls(p_pull_within_s := 600, p_repos := NULL) AS TABLE
SELECT
    coalesce(ci_repo || ' · ' || workflow, ci_repo, workflow, 'not known') || ' · '
        || coalesce(image || coalesce('@' || image_digest, ':' || image_tag), 'image not known') AS name,
    failed + no_event AS pulls, judged, (failed + no_event) / judged AS share, failed, no_event, runs, run_ids
FROM (
    SELECT ci_repo, workflow, image, image_tag, image_digest,
        count(*) FILTER (WHERE outcome <> 'cannot tell') AS judged,
        count(*) FILTER (WHERE outcome = 'failed') AS failed,
        count(*) FILTER (WHERE outcome = 'no event') AS no_event,
        count(DISTINCT run_id) FILTER (WHERE outcome IN ('failed', 'no event')) AS runs,
        string_agg(DISTINCT run_id, ', ' ORDER BY run_id) FILTER (WHERE outcome IN ('failed', 'no event')) AS run_ids
    FROM pull_outcomes(p_pull_within_s := p_pull_within_s, p_repos := p_repos)
    GROUP BY ci_repo, workflow, image, image_tag, image_digest
) AS counted
WHERE failed + no_event > 0
ORDER BY pulls DESC, name;
