-- By how much later did the observer see the requests that can only be one?
-- Of `shared_requests` the pairs of which each row has no other candidate: `anchors` is how many there are, `lag_s` the
-- median of their lags, `mad_s` its median absolute deviation; NULL where there are none.
CREATE OR REPLACE MACRO shared_anchors(p_observer := NULL, p_other := 'mitmproxy', p_offset_s := NULL) AS TABLE
SELECT median(lag_s) AS lag_s, mad(lag_s) AS mad_s, count(*) AS anchors
FROM (
    SELECT lag_s, count(*) OVER (PARTITION BY place) AS others, count(*) OVER (PARTITION BY other_place) AS candidates
    FROM shared_requests(p_observer := p_observer, p_other := p_other, p_offset_s := p_offset_s)
) AS pairs
WHERE others = 1 AND candidates = 1;
