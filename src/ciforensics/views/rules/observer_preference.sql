-- How soon is a source taken for the observer where none is given?
-- The least first: 0 is GitHub's own log, which sees all; then mitmproxy, Squid, whatever there is.
CREATE OR REPLACE MACRO observer_preference(p_source) AS
    CASE p_source WHEN 'github_csv' THEN 0 WHEN 'mitmproxy' THEN 1 WHEN 'squid' THEN 2 ELSE 3 END;
