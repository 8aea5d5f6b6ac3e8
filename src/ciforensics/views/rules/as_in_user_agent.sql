-- How does a user agent spell an orchestration id?
-- In small letters; clients replace what may not stand in a user agent by `_`.
CREATE OR REPLACE MACRO as_in_user_agent(p_orchestration_id) AS
    regexp_replace(lower(p_orchestration_id), '[^a-z0-9_.-]', '_', 'g');
