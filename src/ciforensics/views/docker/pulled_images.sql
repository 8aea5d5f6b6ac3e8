-- Which images are pulled most, and from which registry?
-- Pull events of docker's and pull commands of the wrapper, by image, tag and digest as they were asked for (see `pulls`),
-- the larger of the two first: never add them up. An event that several streamers logged counts once. A pull by tag does not
-- say which digest came.
CREATE OR REPLACE MACRO pulled_images(p_repos := NULL) AS TABLE
SELECT image || coalesce(':' || image_tag, '@' || image_digest) AS name, registry, image, image_tag, image_digest,
    events, commands, greatest(events, commands) AS pulls, workflows
FROM (
    SELECT registry, image, image_tag, image_digest,
        count(DISTINCT ts) FILTER (WHERE told_by = 'event') AS events,
        count(*) FILTER (WHERE told_by = 'command') AS commands,
        count(DISTINCT ci_repo || ' ' || workflow) AS workflows
    FROM pulls
    WHERE is_chosen(p_repos, ci_repo)
    GROUP BY registry, image, image_tag, image_digest
) AS counted
ORDER BY image IS NULL, pulls DESC, image, image_tag, image_digest;
