-- Which workflows sent the 401s?
-- Expected numbers: a 401 counts for a workflow with its probability (see `attributed_requests`). `share` is
-- of all 401s; `exact_share` is how much of a workflow's number rests on a shared key and not on its builds'
-- being near; `runs` are the runs that could have sent any. The row without a repository is what no evidence
-- points anywhere for.
CREATE OR REPLACE MACRO attributed_workflows(p_window_s := 300, p_observer := NULL) AS TABLE
SELECT ci_repo, workflow, sum(requests) AS requests,
    coalesce(sum(requests) FILTER (WHERE outcome = 'challenge'), 0.0) AS challenges,
    coalesce(sum(requests) FILTER (WHERE outcome = 'refused'), 0.0) AS refused,
    sum(requests) / sum(sum(requests)) OVER () AS share,
    coalesce(sum(requests) FILTER (WHERE basis IN ('orchestration id', 'address')), 0.0) / sum(requests) AS exact_share,
    count(DISTINCT run_id) AS runs
FROM attributed_runs(p_window_s := p_window_s, p_observer := p_observer)
GROUP BY ci_repo, workflow
ORDER BY round(sum(requests), 6) DESC, ci_repo, workflow;
