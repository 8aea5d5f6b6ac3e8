-- What became of each 401?
-- `challenge`: the next answer to the same method, url, user agent and client address that is no 401 came
-- within `p_answer_within_s` seconds; one answer pays for one 401, the nearest unpaid one before it. `refused`: no
-- such answer. `bad_credentials`: any 401 of an API. `unknown`: the file shows nothing but 401s, or the row
-- has no time. At equal times file order counts if the file is in order, else 401s come first. `p_reversed`
-- reads the same sequence backwards: the pairs that it makes are chance.
--
-- One answer for one 401, the nearest first, is how brackets match: a 401 opens, another answer closes, one
-- that finds nothing open is passed over (`floor` follows it down), and each bracket's partner is the next
-- row of its level. An answer that comes too late for the nearest comes too late for all before it, so the
-- window is checked last. The order is total, as all three windows must see the same one: records glued on
-- one line share a place.
CREATE OR REPLACE MACRO unauthorized(p_answer_within_s := 2, p_observer := NULL, p_reversed := false) AS TABLE
WITH keys AS (
    SELECT method, url, user_agent, client_ip, row_number() OVER () AS key
    FROM (
        SELECT DISTINCT method, url, user_agent, client_ip
        FROM observed_requests(p_observer := p_observer)
        WHERE status = 401
    ) AS asked
),
steps AS (
    SELECT
        r.*, k.key, f.only_401,
        unix_micros(r.ts) * CASE WHEN p_reversed THEN -1 ELSE 1 END AS instant,
        r.file_id * CASE WHEN p_reversed THEN -1 ELSE 1 END AS file_place,
        CASE WHEN f.in_order THEN 0 WHEN (r.status = 401) = p_reversed THEN 1 ELSE 0 END AS late,
        r.line_no * CASE WHEN p_reversed THEN -1 ELSE 1 END AS place,
        CASE WHEN f.only_401 OR r.ts IS NULL THEN 0 WHEN r.status = 401 THEN 1 ELSE -1 END AS step
    FROM observed_requests(p_observer := p_observer) AS r
    JOIN keys AS k
        ON k.method IS NOT DISTINCT FROM r.method AND k.url IS NOT DISTINCT FROM r.url
        AND k.user_agent IS NOT DISTINCT FROM r.user_agent AND k.client_ip IS NOT DISTINCT FROM r.client_ip
    JOIN file_status AS f ON f.file_id = r.file_id
    WHERE r.status IS NOT NULL
),
heights AS (
    SELECT *, sum(step) OVER (
        PARTITION BY key ORDER BY instant, file_place, late, place, step DESC
        ROWS UNBOUNDED PRECEDING
    ) AS height
    FROM steps
),
floors AS (
    SELECT *, least(0, min(height) OVER (
        PARTITION BY key ORDER BY instant, file_place, late, place, step DESC, height * step
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )) AS floor
    FROM heights
),
levels AS (
    SELECT *, CASE step WHEN 1 THEN height - floor WHEN -1 THEN height - floor + 1 END AS level
    FROM floors
),
partners AS (
    SELECT *,
        lead(ts) OVER partner AS next_ts, lead(file_id) OVER partner AS next_file_id,
        lead(line_no) OVER partner AS next_line_no
    FROM levels
    WINDOW partner AS (
        PARTITION BY key, level ORDER BY instant, file_place, late, place, step DESC, height * step
    )
),
judged AS (
    SELECT *,
        CASE
            WHEN service = 'api' THEN 'bad_credentials'
            WHEN step = 0 THEN 'unknown'
            WHEN abs(date_diff('microsecond', ts, next_ts)) <= p_answer_within_s * 1000000 THEN 'challenge'
            ELSE 'refused'
        END AS outcome
    FROM partners
    WHERE status = 401
)
SELECT
    * EXCLUDE (
        key, only_401, instant, file_place, late, place, step, height, floor, level,
        next_ts, next_file_id, next_line_no
    ),
    CASE WHEN outcome = 'challenge' THEN next_ts END AS paid_ts,
    CASE WHEN outcome = 'challenge' THEN next_file_id END AS paid_by_file_id,
    CASE WHEN outcome = 'challenge' THEN next_line_no END AS paid_by_line_no
FROM judged;
