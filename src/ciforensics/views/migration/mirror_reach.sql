-- What share of base images would the registry mirror reach, by repository?
-- Of each repository the latest scan; one for each FROM that pulls an image: a stage built on another one and scratch
-- pull none, COPY --from and RUN --mount=from take only files. Reached are golden and cache; the shares are of images
-- that are known, NULL where none is. `pinned` (by digest) and `elsewhere` (another registry) go past the mirror.
CREATE OR REPLACE VIEW mirror_reach AS
SELECT
    ci_repo, dockerfiles, images, golden_images, cached_images, pinned, elsewhere, unknown_images,
    round((golden_images + cached_images) / nullif(images - unknown_images, 0), 4) AS mirror_share,
    round(golden_images / nullif(images - unknown_images, 0), 4) AS golden_image_share
FROM (
    SELECT ci_repo, count(DISTINCT dockerfile) AS dockerfiles, count(*) AS images,
        count(*) FILTER (WHERE served_by = 'golden') AS golden_images,
        count(*) FILTER (WHERE served_by = 'cache') AS cached_images,
        count(image_digest) AS pinned,
        count(*) FILTER (WHERE served_by = 'bypassed' AND image_digest IS NULL) AS elsewhere,
        count(*) FILTER (WHERE served_by = 'unknown') AS unknown_images
    FROM (SELECT *, max(ts) OVER (PARTITION BY ci_repo) AS latest FROM base_images) AS dated
    WHERE ts = latest AND instruction = 'FROM' AND coalesce(image, '') <> 'scratch'
    GROUP BY ci_repo
) AS counted
ORDER BY images - unknown_images - golden_images - cached_images DESC, images DESC, ci_repo;
