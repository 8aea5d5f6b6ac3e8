-- How many workflows compete for a 401 that no key names the sender of?
-- The 401s on the basis of a build window (see `attributed_requests`) by the number of workflows with builds
-- in it.
CREATE OR REPLACE MACRO attribution_competition(p_window_s := 300, p_observer := NULL) AS TABLE
SELECT workflows, round(sum(requests))::BIGINT AS requests, sum(requests) / sum(sum(requests)) OVER () AS share
FROM (
    SELECT date_trunc('second', ts) AS second, count(DISTINCT (ci_repo, workflow)) AS workflows,
        sum(probability) AS requests
    FROM attributed_requests(p_window_s := p_window_s, p_observer := p_observer)
    WHERE basis = 'build window'
    GROUP BY second
) AS seconds
GROUP BY workflows
ORDER BY workflows;
