-- How many microseconds long is an interval?
-- A month is that of January 2000, 31 days.
CREATE OR REPLACE MACRO interval_micros(p_bucket) AS date_diff(
    'microsecond', TIMESTAMP '2000-01-01 00:00:00', TIMESTAMP '2000-01-01 00:00:00' + CAST(p_bucket AS INTERVAL)
);
