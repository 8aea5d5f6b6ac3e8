-- How many 401s does each run account for, with which outcome and on which basis?
-- Expected numbers: a 401 counts for a run with its probability (see `attributed_requests`).
CREATE OR REPLACE MACRO attributed_runs(p_window_s := 300, p_observer := NULL) AS TABLE
SELECT ci_repo, workflow, run_id, outcome, basis, sum(probability) AS requests
FROM attributed_requests(p_window_s := p_window_s, p_observer := p_observer)
GROUP BY ci_repo, workflow, run_id, outcome, basis;
