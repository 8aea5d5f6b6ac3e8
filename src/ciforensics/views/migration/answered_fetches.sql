-- Which git fetches of images got no 401?
-- A fetch or push begins with a GET of info/refs. Of these, each that was not answered 401 and does not repeat one that
-- was (see `unauthorized`), by git as it is in images: neither other programs nor actions/checkout (see `git_classes`).
CREATE OR REPLACE MACRO answered_fetches(p_observer := NULL) AS TABLE
SELECT r.*, g.class
FROM observed_requests(p_observer := p_observer) AS r
JOIN git_classes AS g
    ON g.client IS NOT DISTINCT FROM r.client
    AND g.client_version IS NOT DISTINCT FROM r.client_version
    AND g.client_tag IS NOT DISTINCT FROM r.client_tag
ANTI JOIN unauthorized(p_observer := p_observer) AS u
    ON u.paid_by_file_id = r.file_id AND u.paid_by_line_no = r.line_no
WHERE is_git(r.service) AND coalesce(r.method, 'GET') = 'GET' AND r.path LIKE '%/info/refs'
    AND r.status <> 401 AND g.class NOT IN ('other clients', 'checkout');
