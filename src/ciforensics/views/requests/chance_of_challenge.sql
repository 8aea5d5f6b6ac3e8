-- How many of the challenges could be chance?
-- Pairs that the same rule makes when the sequence is read backwards, where no answer can pay for a 401,
-- beside the pairs that it makes forwards.
CREATE OR REPLACE MACRO chance_of_challenge(p_answer_within_s := 2, p_observer := NULL) AS TABLE
SELECT forward.pairs, backward.pairs AS reversed_pairs, backward.pairs / nullif(forward.pairs, 0) AS share
FROM (
    SELECT count(*) FILTER (WHERE outcome = 'challenge') AS pairs
    FROM unauthorized(p_answer_within_s := p_answer_within_s, p_observer := p_observer)
) AS forward
CROSS JOIN (
    SELECT count(*) FILTER (WHERE outcome = 'challenge') AS pairs
    FROM unauthorized(p_answer_within_s := p_answer_within_s, p_observer := p_observer, p_reversed := true)
) AS backward;
