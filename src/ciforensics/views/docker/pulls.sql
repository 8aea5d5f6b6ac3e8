-- Which pulls does each log tell of?
-- A row for each `docker pull` of the wrapper's log (`told_by` command, when it started) and for each pull event of
-- docker's (event, when it was over); never their sum, as most pulls are in both. Images are called what docker calls them
-- after a pull: `docker.io/library/golang` is golang, no tag and no digest is latest, behind a digest the tag says nothing.
-- `image` is NULL where the log holds only the command's first word.
CREATE OR REPLACE VIEW pulls AS
WITH told AS (
    SELECT
        'command' AS told_by, source, file_id, line_no, ts, ci_repo, workflow, job, run_id, coalesce(pod, runner) AS runner,
        exit_code, duration_ms,
        -- Options may follow the image; only --platform has a value of its own.
        coalesce(image, nullif(regexp_extract(
            regexp_replace(args, '--platform[= ][^ ]+', '', 'g'), '([^- ][^ ]*)( +-[^ ]*)* *$', 1), 'pull')) AS reference
    FROM invocations
    WHERE command = 'pull'
    UNION ALL
    SELECT
        'event', source, file_id, line_no, ts, ci_repo, workflow, job, run_id, pod, NULL, NULL,
        coalesce(image, '') || coalesce(':' || image_tag, '') || coalesce('@' || image_digest, '')
    FROM docker_events
    WHERE type = 'image' AND action = 'pull'
),
parted AS (
    SELECT * EXCLUDE (reference), nullif(regexp_extract(reference, '@(.+)$', 1), '') AS image_digest,
        nullif(regexp_extract(reference, '^[^@]*:([A-Za-z0-9_][A-Za-z0-9_.-]*)(@.*)?$', 1), '') AS tag,
        nullif(regexp_replace(
            regexp_replace(
                regexp_replace(reference, '(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?(@.*)?$', ''), '^(index[.])?docker[.]io/', ''),
            '^library/([^/]+)$', '\1'), '') AS image
    FROM told
)
SELECT
    told_by, source, file_id, line_no, ts, ci_repo, workflow, job, run_id, runner, exit_code, duration_ms,
    CASE WHEN regexp_matches(image, '^([^/]*[.:][^/]*|localhost)/') THEN split_part(image, '/', 1)
        WHEN image IS NOT NULL THEN 'docker.io' END AS registry,
    image, CASE WHEN image_digest IS NULL AND image IS NOT NULL THEN coalesce(tag, 'latest') END AS image_tag, image_digest
FROM parted;
