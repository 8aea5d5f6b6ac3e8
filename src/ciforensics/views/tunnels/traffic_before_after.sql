-- Did a change send more of Docker's traffic through the registry mirror?
-- Tunnels to registries, before `mirror_change` and from then on, by the time they ended: one that was open across it counts
-- after it. Shares are of the period's tunnels to registries, and of their bytes up and down. Nothing where no change is
-- known; tunnels without a time are in no period.
CREATE OR REPLACE MACRO traffic_before_after(p_mirror := NULL, p_changed_at := NULL) AS TABLE
SELECT period, route, registry, tunnels, bytes_up, bytes_down,
    tunnels / sum(tunnels) OVER (PARTITION BY period) AS tunnel_share,
    coalesce(bytes_up, 0) / nullif(sum(coalesce(bytes_up, 0)) OVER (PARTITION BY period), 0) AS up_share,
    coalesce(bytes_down, 0) / nullif(sum(coalesce(bytes_down, 0)) OVER (PARTITION BY period), 0) AS down_share
FROM (
    SELECT CASE WHEN t.ts < c.changed_at THEN 'before' ELSE 'after' END AS period, t.route, t.registry,
        count(*) AS tunnels, CAST(sum(t.bytes_up) AS BIGINT) AS bytes_up,
        CAST(sum(t.bytes_down) AS BIGINT) AS bytes_down
    FROM traffic(p_mirror := p_mirror) AS t
    CROSS JOIN mirror_change(p_mirror := p_mirror, p_changed_at := p_changed_at) AS c
    WHERE t.route IN ('mirror', 'past the mirror') AND t.ts IS NOT NULL AND c.changed_at IS NOT NULL
    GROUP BY period, t.route, t.registry
) AS periods
ORDER BY period DESC, route, bytes_down DESC, registry;
