-- What share of base images would the registry mirror reach, by repository?
-- Of each repository the latest scan; one for each FROM that pulls an image: a stage built on another one and scratch
-- pull none, COPY --from and RUN --mount=from take only files. Reached are golden and cache; the shares are of images
-- that are known, NULL where none is. `pinned` (by digest) and `elsewhere` (another registry) go past the mirror.
CREATE OR REPLACE VIEW mirror_reach AS
SELECT
    ci_repo, dockerfiles, images, golden, cache, pinned, elsewhere, unknown,
    round((golden + cache) / nullif(images - unknown, 0), 4) AS mirror_share,
    round(golden / nullif(images - unknown, 0), 4) AS golden_share
FROM (
    SELECT ci_repo, count(DISTINCT dockerfile) AS dockerfiles, count(*) AS images,
        count(*) FILTER (WHERE served_by = 'golden') AS golden,
        count(*) FILTER (WHERE served_by = 'cache') AS cache,
        count(image_digest) AS pinned,
        count(*) FILTER (WHERE served_by = 'bypassed' AND image_digest IS NULL) AS elsewhere,
        count(*) FILTER (WHERE served_by = 'unknown') AS unknown
    FROM (SELECT *, max(ts) OVER (PARTITION BY ci_repo) AS latest FROM base_images) AS dated
    WHERE ts = latest AND instruction = 'FROM' AND coalesce(image, '') <> 'scratch'
    GROUP BY ci_repo
) AS counted
ORDER BY images - unknown - golden - cache DESC, images DESC, ci_repo;
