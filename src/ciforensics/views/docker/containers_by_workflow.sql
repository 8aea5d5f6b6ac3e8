-- How many containers does a job create, by workflow and in all?
-- Quantiles over the jobs that docker's events cover as a whole (see `containers_per_job`); `partly` are further jobs, of
-- which the events show only a part and which do not count. The first row, without a repository, is `all jobs`.
CREATE OR REPLACE MACRO containers_by_workflow(p_repos := NULL) AS TABLE
SELECT
    ci_repo, workflow, CASE WHEN all_jobs = 1 THEN 'all jobs'
        ELSE coalesce(ci_repo || ' · ' || workflow, ci_repo, workflow, 'not known') END AS name,
    jobs, partly, containers, p10, p25, median, p75, p90, most, round(mean, 2) AS mean
FROM (
    SELECT
        ci_repo, workflow, grouping(ci_repo) AS all_jobs,
        count(*) FILTER (WHERE whole) AS jobs, count(*) FILTER (WHERE NOT whole) AS partly,
        coalesce(sum(containers) FILTER (WHERE whole), 0)::BIGINT AS containers,
        quantile_disc(containers, 0.1) FILTER (WHERE whole) AS p10,
        quantile_disc(containers, 0.25) FILTER (WHERE whole) AS p25,
        quantile_disc(containers, 0.5) FILTER (WHERE whole) AS median,
        quantile_disc(containers, 0.75) FILTER (WHERE whole) AS p75,
        quantile_disc(containers, 0.9) FILTER (WHERE whole) AS p90,
        max(containers) FILTER (WHERE whole) AS most,
        avg(containers) FILTER (WHERE whole) AS mean
    FROM containers_per_job(p_repos := p_repos)
    GROUP BY GROUPING SETS ((ci_repo, workflow), ())
    HAVING count(*) > 0
) AS counted
ORDER BY all_jobs DESC, containers DESC, name;
