-- How many microseconds after 1970 is a time?
-- The time is UTC.
CREATE OR REPLACE MACRO unix_micros(p_ts) AS date_diff('microsecond', TIMESTAMP '1970-01-01 00:00:00', p_ts);
