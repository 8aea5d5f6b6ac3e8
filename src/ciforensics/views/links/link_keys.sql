-- Which keys link which sources?
-- For each two sources that carry the same key (see `row_keys`): `shared_values`, the values of it that both name; the
-- rows of the one that carry it (`rows`), of these the ones whose value the other names too (`linked`), and the same
-- for the other. No time is looked at: an address may have been another pod's by then (see `pod_holds`).
CREATE OR REPLACE VIEW link_keys AS
WITH carried AS (
    SELECT source, key, sum(rows)::BIGINT AS rows, count(*) AS n_values
    FROM key_values
    GROUP BY source, key
),
linked AS (
    SELECT v.source, o.source AS other_source, v.key, count(*) AS shared_values, sum(v.rows)::BIGINT AS linked,
        sum(o.rows)::BIGINT AS other_linked
    FROM key_values AS v
    JOIN key_values AS o ON o.key = v.key AND o.value = v.value AND o.source > v.source
    GROUP BY v.source, o.source, v.key
)
SELECT c.key, c.source, o.source AS other_source, coalesce(l.shared_values, 0) AS shared_values,
    c.rows, coalesce(l.linked, 0) AS linked, o.rows AS other_rows, coalesce(l.other_linked, 0) AS other_linked
FROM carried AS c
JOIN carried AS o ON o.key = c.key AND o.source > c.source
LEFT JOIN linked AS l ON l.source = c.source AND l.other_source = o.source AND l.key = c.key
ORDER BY c.key, c.source, o.source;
