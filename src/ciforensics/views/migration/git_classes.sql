-- Which clients can send credentials unasked (proactiveAuth), and which only say so?
-- Each client, version and tag of the case: `golden` is git tagged `proactive`, from 2.46 (2.46.0-rc1) on;
-- `tagged, too old` has the tag and an older git, which ignores the setting and goes on getting 401s;
-- `tagged, version unknown` has a tag and no version to judge; `stock` is git without the tag; `checkout` is the git of
-- actions/checkout, which runs on the runner, in no image; all else is `other clients`.
CREATE OR REPLACE VIEW git_classes AS
SELECT client, client_version, client_tag,
    CASE
        WHEN client IS NULL OR client <> 'git' THEN 'other clients'
        WHEN coalesce(client_tag LIKE '%github-actions-checkout%', false) THEN 'checkout'
        WHEN NOT tagged THEN 'stock'
        WHEN major IS NULL OR minor IS NULL THEN 'tagged, version unknown'
        WHEN major < 2 OR major = 2 AND minor < 46 OR release_candidate_0 THEN 'tagged, too old'
        ELSE 'golden'
    END AS class
FROM (
    SELECT client, client_version, client_tag,
        coalesce(regexp_matches(lower(client_tag), '(^|[^a-z0-9])proactive([^a-z0-9]|$)'), false) AS tagged,
        TRY_CAST(regexp_extract(client_version, '^v?([0-9]+)[.]([0-9]+)', 1) AS INTEGER) AS major,
        TRY_CAST(regexp_extract(client_version, '^v?([0-9]+)[.]([0-9]+)', 2) AS INTEGER) AS minor,
        coalesce(regexp_matches(client_version, '^v?2[.]46[.]0[.-]rc0'), false) AS release_candidate_0
    FROM (
        SELECT DISTINCT client, client_version, client_tag FROM store.user_agents
        UNION
        SELECT NULL, NULL, NULL
    ) AS clients
) AS parts;
