-- How much of the git traffic is of each class, and how much of that got a 401?
-- Git requests by class (see `git_classes`), most first; `share` is of all git requests.
CREATE OR REPLACE MACRO git_class_totals(p_observer := NULL) AS TABLE
SELECT
    class, sum(requests)::BIGINT AS requests, sum(unauthorized)::BIGINT AS unauthorized,
    sum(unauthorized) / sum(requests) AS unauthorized_share,
    sum(requests) / sum(sum(requests)) OVER () AS share
FROM git_clients(p_observer := p_observer)
GROUP BY class
ORDER BY requests DESC, class;
