-- Which tunnel went where, who opened it, and did it go through the registry mirror?
-- Every tunnel once, as in `tunnel_senders`, with its host's route (see `tunnel_routes`). Bytes are the log's: headers
-- and what the proxy itself answered are in them, and all of a tunnel's are booked at its `ts`.
CREATE OR REPLACE MACRO traffic(p_mirror := NULL) AS TABLE
SELECT t.*, r.registry, r.route
FROM tunnel_senders AS t
LEFT JOIN tunnel_routes(p_mirror := p_mirror) AS r ON r.host IS NOT DISTINCT FROM t.host;
