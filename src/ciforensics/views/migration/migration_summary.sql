-- How far is the migration, in one line?
-- One row: the golden share of the git requests (but for those of actions/checkout, which no image sends), and how many of the golden, the stock and the tagged but too old ones got
-- a 401 (see `git_classes`). `golden` is NULL where that cannot be told: there are no git requests, or each got a 401, as
-- in an export of 401s alone, where golden images do not show.
CREATE OR REPLACE MACRO migration_summary(p_observer := NULL) AS TABLE
SELECT
    CASE WHEN sum(unauthorized) < sum(requests)
        THEN coalesce(sum(requests) FILTER (WHERE class = 'golden'), 0)
            / nullif(sum(requests) FILTER (WHERE class <> 'checkout'), 0) END AS golden,
    any_value(unauthorized_share) FILTER (WHERE class = 'golden') AS golden_share,
    any_value(unauthorized_share) FILTER (WHERE class = 'stock') AS stock_share,
    CASE WHEN count(*) > 0
        THEN coalesce(any_value(requests) FILTER (WHERE class = 'tagged, too old'), 0) END AS too_old,
    any_value(unauthorized_share) FILTER (WHERE class = 'tagged, too old') AS too_old_share
FROM git_class_totals(p_observer := p_observer);
