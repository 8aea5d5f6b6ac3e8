-- How many whole seconds after 1970 is a time?
-- The time is UTC, the part of a second is cut off.
CREATE OR REPLACE MACRO unix_seconds(p_ts) AS date_diff('second', TIMESTAMP '1970-01-01 00:00:00', p_ts);
