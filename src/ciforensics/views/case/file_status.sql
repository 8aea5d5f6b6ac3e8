-- What can the statuses in each file of requests show?
-- `only_401`: each answer in it is a 401, so that nobody can tell what a client got past. Rows without a
-- status are no answers.
CREATE OR REPLACE VIEW file_status AS
SELECT
    f.file_id, f.path, f.source, f.format, f.in_order, s.requests, s.unauthorized, s.answers,
    s.unauthorized > 0 AND s.unauthorized = s.answers AS only_401
FROM files AS f
JOIN (
    SELECT file_id, count(*) AS requests, count(*) FILTER (WHERE status = 401) AS unauthorized,
        count(status) AS answers
    FROM store.requests
    GROUP BY file_id
) AS s ON s.file_id = f.file_id;
