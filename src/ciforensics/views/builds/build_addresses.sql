-- Which addresses had the runners of which builds?
-- By the pod whose name is the build's runner, or that a job of the build's run was on (see `pod_holds`), and by
-- the tunnels of the run; a build with none is not listed.
CREATE OR REPLACE VIEW build_addresses AS
SELECT DISTINCT b.build_id, h.client_ip
FROM builds AS b
JOIN pod_holds AS h ON h.pod = b.runner AND b.ts >= h.from_ts AND (h.to_ts IS NULL OR b.ts < h.to_ts)
UNION
SELECT DISTINCT b.build_id, h.client_ip
FROM builds AS b
JOIN pod_holds AS h ON h.run_id = b.run_id AND (b.runner IS NULL OR h.pod = b.runner)
UNION
SELECT DISTINCT b.build_id, t.client_ip
FROM builds AS b
JOIN tunnels AS t ON t.run_id = b.run_id AND (b.runner IS NULL OR t.pod IS NULL OR t.pod = b.runner)
WHERE t.client_ip IS NOT NULL;
