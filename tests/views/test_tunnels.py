"""Where the bytes go: each counting rule on a few lines of Squid's log."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

    from cases import Build

START = 1_795_489_200  # 2026-11-24 03:00:00
PROBE = (
    f'{{"ts":"{START}","client_ip":"10.0.0.2","authority":"error:transaction-end-before-headers",'
    '"bytes_up":"0","bytes_down":"0","podmeta":-}\n'
)


def line(second: int, authority: str, up: int = 100, down: int = 1000, **said: str) -> str:
    """A line of `connect_bytes`; what is said beside the six keys is the helper's."""
    meta = json.dumps(said) if said else "-"
    return (
        f'{{"ts":"{START + second}","client_ip":"10.0.0.5","authority":"{authority}",'
        f'"bytes_up":"{up}","bytes_down":"{down}","podmeta":{meta}}}\n'
    )


def native(second: int, authority: str, code: str, down: int = 3403) -> str:
    """A line of Squid's native format."""
    return f"{START + second}.137     18 10.0.0.5 {code} {down} CONNECT {authority} - HIER_NONE/- -\n"


def ask(con: duckdb.DuckDBPyConnection, query: str, **values: Any) -> list[Any]:
    return con.sql(query, params=values or None).fetchall()


def sums(rows: Iterable[dict[str, str]], key: str) -> list[tuple[str, int, int, int]]:
    """Lines, bytes up and bytes down by the value of a key: what the raw log itself says."""
    by: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in rows:
        for nth, more in enumerate((1, int(row["bytes_up"]), int(row["bytes_down"]))):
            by[row[key]][nth] += more
    return sorted((name, *(count for count in counts)) for name, counts in by.items())  # type: ignore[misc]


HOUR = "".join(
    line(nth * 40, host, up=1_000 + nth, down=7_000 * nth + 39, pod=f"runner-{nth % 3}")
    for nth, host in enumerate(
        ["github.com:443", "mirror.acme.example:443", "ghcr.io:443", "[2001:db8::1]:8443", "github.com:443"]
        * 9
    )
)


@pytest.mark.parametrize(
    ("column", "key"), [("host || ':' || port", "authority"), ("pod", "pod"), ("client_ip", "client_ip")]
)
def test_every_tunnel_and_every_byte_is_accounted_for_once(case: Build, column: str, key: str) -> None:
    con = case(squid=HOUR + PROBE)
    raw = [json.loads(text) for text in HOUR.splitlines()]
    for row in raw:
        row["pod"] = row["podmeta"]["pod"]
        row["authority"] = row["authority"].replace("[", "").replace("]", "")
    counts = "count(*), sum(bytes_up)::BIGINT, sum(bytes_down)::BIGINT"
    assert ask(con, f"SELECT {column}, {counts} FROM traffic GROUP BY ALL ORDER BY 1") == sums(raw, key)
    total = sums(raw, "client_ip")[0][1:]
    added = "sum(tunnels)::BIGINT, sum(bytes_up)::BIGINT, sum(bytes_down)::BIGINT"
    for view in ("traffic_by_host", "traffic_over_time"):
        assert ask(con, f"SELECT {added} FROM {view}") == [total]
    assert ask(con, "FROM traffic_account") == [
        ("tunnels", None, *total),
        ("skipped", "no request (error:transaction-end-before-headers)", 1, None, None),
    ]


def test_a_tunnel_that_names_no_host_and_no_bytes_stays_as_a_row(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "INSERT INTO files BY NAME SELECT 1 AS file_id, 'squid' AS source, 'x' AS path, 'json' AS format, "
        "TIMESTAMP '2026-11-24 03:00' AS first_ts, TIMESTAMP '2026-11-24 03:00' AS last_ts"
    )
    con.execute(
        "INSERT INTO tunnels BY NAME SELECT 'squid' AS source, 1 AS file_id, 1 AS line_no, "
        "TIMESTAMP '2026-11-24 03:00' AS ts, 'end' AS ts_kind"
    )
    assert ask(con, "SELECT host, route, tunnels, bytes_up, bytes_down FROM traffic_by_host") == [
        (None, None, 1, None, None)
    ]
    assert ask(con, "SELECT tunnels, bytes, past_byte_share, denied FROM traffic_summary") == [
        (1, 0, None, None)
    ]
    assert ask(con, "FROM unexpected_destinations") == []


def test_one_proxys_tunnels_in_two_formats_are_accounted_for_but_counted_once(case: Build) -> None:
    hosts = ["github.com:443", "ghcr.io:443", "pypi.org:443"]
    con = case(
        squid="".join(line(nth * 30, host, down=nth * 10) for nth, host in enumerate(hosts)),
        access="".join(native(nth * 30, host, "TCP_TUNNEL/200", nth * 10) for nth, host in enumerate(hosts)),
    )
    assert ask(con, "SELECT what, records FROM traffic_account") == [("tunnels", 3), ("tunnels left out", 3)]
    assert ask(con, "SELECT sum(tunnels)::BIGINT FROM traffic_by_host") == [(3,)]


def test_plain_http_through_the_proxy_is_in_the_account_and_no_tunnel(case: Build) -> None:
    con = case(squid=line(0, "github.com:443") + line(1, "http://deb.debian.org/debian", up=7, down=9))
    assert ask(con, "SELECT what, records, bytes_up, bytes_down FROM traffic_account") == [
        ("tunnels", 1, 100, 1000),
        ("requests without a tunnel", 1, 7, 9),
    ]


ROUTED = (
    "registry-1.docker.io",
    "auth.docker.io",
    "production.cloudflare.docker.com",
    "ghcr.io",
    "gcr.io",
    "eu.gcr.io",
    "quay.io",
    "mcr.microsoft.com",
    "europe-docker.pkg.dev",
    "mirror.acme.example",
    "github.com",
    "docker.com",
)


@pytest.mark.parametrize(
    ("mirror", "mirrors"),
    [
        (None, ["mirror.acme.example"]),
        ("https://europe-docker.pkg.dev/acme/virtual", ["europe-docker.pkg.dev"]),
        ("*.gcr.io, quay.io", ["eu.gcr.io", "quay.io"]),
        ("elsewhere.example", []),
    ],
)
def test_the_mirror_is_what_the_parameter_says_else_a_host_whose_name_does(
    case: Build, mirror: str | None, mirrors: list[str]
) -> None:
    con = case(squid="".join(line(nth, f"{host}:443") for nth, host in enumerate(ROUTED)))
    query = "SELECT host FROM tunnel_routes(p_mirror := $mirror) WHERE route = $route ORDER BY host"
    assert [row[0] for row in ask(con, query, mirror=mirror, route="mirror")] == mirrors
    no_registry = {"github.com", "docker.com", "mirror.acme.example"} - set(mirrors)
    past = sorted(set(ROUTED) - no_registry - set(mirrors))
    assert [row[0] for row in ask(con, query, mirror=mirror, route="past the mirror")] == past


def test_artifact_registry_is_the_mirror_where_no_name_says_mirror(case: Build) -> None:
    con = case(squid=line(0, "europe-docker.pkg.dev:443") + line(1, "europe-python.pkg.dev:443"))
    assert ask(con, "SELECT host, route, taken_by FROM tunnel_routes ORDER BY host") == [
        ("europe-docker.pkg.dev", "mirror", "Artifact Registry"),
        ("europe-python.pkg.dev", "no registry", None),
    ]


def test_shares_past_the_mirror_are_of_tunnels_and_bytes_down_of_registries_alone(case: Build) -> None:
    con = case(
        squid=line(0, "mirror.acme.example:443", down=300)
        + line(1, "ghcr.io:443", up=90_000, down=100)
        + line(2, "github.com:443", down=5_000)
    )
    shares = "past_tunnel_share, past_byte_share, registry_tunnels"
    assert ask(con, f"SELECT {shares} FROM traffic_summary") == [(0.5, 0.25, 2)]


def test_the_run_is_what_the_helper_said_else_whose_pod_had_the_address(
    con: duckdb.DuckDBPyConnection,
) -> None:
    con.execute(
        "INSERT INTO pods BY NAME SELECT * FROM (VALUES "
        "('10.0.0.5', 'p1', TIMESTAMP '2026-11-24 03:00', TIMESTAMP '2026-11-24 03:10'), "
        "('10.0.0.5', 'p2', TIMESTAMP '2026-11-24 03:20', NULL)) AS t(client_ip, pod, from_ts, to_ts)"
    )
    con.execute(
        "INSERT INTO jobs BY NAME SELECT * FROM (VALUES ('p1', 'CI', '1', TIMESTAMP '2026-11-24 03:00'), "
        "('p2', 'Docs', '2', TIMESTAMP '2026-11-24 03:20')) AS t(runner, workflow, run_id, started_at)"
    )
    con.execute(
        "INSERT INTO files BY NAME SELECT 1 AS file_id, 'squid' AS source, 'x' AS path, 'json' AS format"
    )
    con.execute(
        "INSERT INTO tunnels BY NAME SELECT 'squid' AS source, 1 AS file_id, '10.0.0.5' AS client_ip, * "
        "FROM (VALUES "
        "(1, TIMESTAMP '2026-11-24 03:05', NULL, NULL), (2, TIMESTAMP '2026-11-24 03:15', NULL, NULL), "
        "(3, TIMESTAMP '2026-11-24 03:25', NULL, NULL), (4, TIMESTAMP '2026-11-24 03:25', 'p9', NULL), "
        "(5, TIMESTAMP '2026-11-24 03:25', 'p2', 'Release')) AS t(line_no, ts, pod, workflow)"
    )
    assert ask(con, "SELECT pod, workflow, known_by FROM tunnel_senders ORDER BY line_no") == [
        ("p1", "CI", "pods"),
        (None, None, None),  # between two pods nobody had the address
        ("p2", "Docs", "pods"),
        ("p9", None, None),  # the helper names another pod than the snapshot: no run is known
        ("p2", "Release", "metadata"),
    ]


def pulls(hosts: str, from_second: int = 0) -> str:
    """A tunnel a minute: `m` to the mirror, `h` to Docker Hub."""
    names = {"m": "mirror.acme.example:443", "h": "registry-1.docker.io:443"}
    return "".join(line(from_second + 60 * nth, names[host]) for nth, host in enumerate(hosts))


def test_a_change_of_the_mirror_is_found_where_its_share_steps(case: Build) -> None:
    con = case(squid=pulls("h" * 20 + "m" * 10 + "h" + "m" * 10))
    assert ask(con, "SELECT strftime(changed_at, '%H:%M'), found_by FROM mirror_change") == [
        ("03:20", "the data")
    ]
    assert ask(con, "SELECT period, route, tunnels, round(down_share, 3) FROM traffic_before_after") == [
        ("before", "past the mirror", 20, 1.0),
        ("after", "mirror", 20, 0.952),
        ("after", "past the mirror", 1, 0.048),
    ]


@pytest.mark.parametrize("hosts", ["mh" * 20, "m" * 30, "hhmm", "g"])
def test_without_a_step_that_chance_would_not_make_no_change_is_found(case: Build, hosts: str) -> None:
    con = case(squid=pulls(hosts) if hosts != "g" else line(0, "github.com:443"))
    assert ask(con, "FROM mirror_change") == [(None, None, None)]
    assert ask(con, "FROM traffic_before_after") == []


def test_a_given_time_of_change_counts_and_a_tunnel_that_ends_at_it_is_after(case: Build) -> None:
    con = case(squid=pulls("hhm"))
    changed = "p_changed_at := '2026-11-24 03:01'"
    assert ask(con, f"SELECT found_by FROM mirror_change({changed})") == [("given",)]
    assert ask(con, f"SELECT period, route, tunnels FROM traffic_before_after({changed})") == [
        ("before", "past the mirror", 1),
        ("after", "mirror", 1),
        ("after", "past the mirror", 1),
    ]


def test_unexpected_are_bare_addresses_odd_ports_late_and_rare_ones_each_with_its_first_record(
    case: Build,
) -> None:
    usual = "".join(line(nth * 60, "github.com:443") for nth in range(40))
    odd = [(5, "203.0.113.7:443"), (6, "[2001:db8::7]:8443"), (8, "nexus.acme.example:8081")]
    seldom = [(9, "files.example:443"), (38 * 60, "paste.example:443"), (9, "mirror.acme.example:443")]
    con = case(squid=usual + "".join(line(*one) for one in odd + seldom))
    assert ask(con, "SELECT host, port, why, line_no FROM unexpected_destinations(p_rare := 1)") == [
        ("2001:db8::7", 8443, "bare address, odd port, rare", 42),
        ("203.0.113.7", 443, "bare address, rare", 41),
        ("nexus.acme.example", 8081, "odd port, rare", 43),
        ("paste.example", 443, "first seen late, rare", 45),
        ("files.example", 443, "rare", 44),
    ]
    expected = "p_expected := '*.example, 203.0.*, 2001:db8:*'"
    assert ask(con, f"SELECT host FROM unexpected_destinations({expected})") == []
    # As they are shown, to be copied from there.
    shown = "p_expected := 'nexus.acme.example:8081, [2001:db8::7]:8443, *:443'"
    assert ask(con, f"SELECT host FROM unexpected_destinations({shown})") == []


def test_denied_are_those_that_squid_says_it_denied_and_without_a_status_nobody_knows(case: Build) -> None:
    con = case(
        squid=line(0, "github.com:443"),
        access=native(900, "telemetry.example:443", "TCP_DENIED/403")
        + native(901, "telemetry.example:443", "TCP_DENIED/407")
        + native(902, "down.example:443", "TCP_TUNNEL/503")
        + native(903, "github.com:443", "TCP_TUNNEL/200"),
    )
    assert ask(con, "SELECT outcome FROM traffic ORDER BY ts") == [
        (None,),
        ("denied",),
        ("denied",),
        ("failed",),
        ("stood",),
    ]
    assert ask(con, "SELECT denied, outcome_known, tunnels FROM traffic_summary") == [(2, 4, 5)]
