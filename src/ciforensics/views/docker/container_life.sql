-- How long do containers live, by image and by workflow?
-- Quantiles of the seconds from create to die, over the containers whose create and die are both in the log; `open` are
-- those that lack one of the two. `by_what` is image or workflow, each container is in one row of either.
CREATE OR REPLACE MACRO container_life(p_repos := NULL) AS TABLE
SELECT
    by_what, name, containers, open, round(p10, 3) AS p10, round(p25, 3) AS p25, round(median, 3) AS median,
    round(p75, 3) AS p75, round(p90, 3) AS p90, round(longest, 3) AS longest, round(total_s, 1) AS total_s
FROM (
    SELECT
        b.by_what,
        CASE WHEN b.by_what = 'image' THEN coalesce(c.image, c.image_digest, 'not known')
            ELSE coalesce(c.ci_repo || ' · ' || c.workflow, c.ci_repo, c.workflow, 'not known') END AS name,
        count(c.life_s) AS containers, count(*) - count(c.life_s) AS open,
        quantile_cont(c.life_s, 0.1) AS p10, quantile_cont(c.life_s, 0.25) AS p25,
        quantile_cont(c.life_s, 0.5) AS median, quantile_cont(c.life_s, 0.75) AS p75,
        quantile_cont(c.life_s, 0.9) AS p90, max(c.life_s) AS longest, sum(c.life_s) AS total_s
    FROM containers AS c
    CROSS JOIN (SELECT 'image' AS by_what UNION ALL SELECT 'workflow') AS b
    WHERE is_chosen(p_repos, c.ci_repo)
    GROUP BY 1, 2
) AS measured
ORDER BY by_what, total_s DESC NULLS LAST, name;
