"""The sample case is what its generator makes, fits together, and tells its story."""

import csv
import gzip
import io
import json
import subprocess
import sys
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ciforensics.fleet import sample_files, sample_fleet, simulate
from ciforensics.fleet.logs import docker_wrapper, github_csv, mitmproxy, squid, truth
from ciforensics.fleet.model import (
    Background,
    Client,
    Errand,
    Parameters,
    Pool,
    Workflow,
)
from ciforensics.fleet.random_fleet import random_parameters
from ciforensics.fleet.truth import evidence_files, truth_files

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
FILES = sample_files()
DAY = datetime(2026, 3, 17, 6, tzinfo=UTC)


def table(name: str, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(FILES[name].decode(), newline=""), delimiter=delimiter))


def lines(name: str) -> list[str]:
    data = FILES[name]
    return (gzip.decompress(data) if name.endswith(".gz") else data).decode().splitlines()


def objects(name: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The lines that are whole JSON objects, and the others."""
    good, bad = [], []
    for line in lines(name):
        try:
            good.append(json.loads(line))
        except json.JSONDecodeError:
            bad.append(line)
    return good, bad


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def outcomes_by_repo() -> Counter[tuple[str, str]]:
    """Counted from truth.csv; the rows of builds without a wrapper and of the background by their sender."""
    count: Counter[tuple[str, str]] = Counter()
    for row in table("truth.csv", ";"):
        if row["outcome"]:
            count[row["sent_by_repo"] or row["sender"], row["outcome"]] += 1
    return count


def small(**changes: Any) -> Parameters:
    """One workflow of one pool, a hundred builds in an hour or so."""
    fetch = Errand("git", "acme/lib")
    web = Workflow("acme/web", "CI", "image", 100, Client("git/2.39.5"), (fetch,), ("arc",))
    pool = Pool("arc", (("node-a", 42),), proxy="squid")
    return replace(Parameters(7, DAY, 1, (web,), (pool,)), **changes)


def test_one_command_makes_the_committed_samples_again(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "ciforensics.fleet", str(tmp_path)], check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_bytes() for path in SAMPLES.iterdir() if path.name != "README.md"}
    assert made.keys() == committed.keys()
    # zlib and zlib-ng pack the same bytes differently; what is packed is the same.
    for files in (made, committed):
        files["docker-wrapper.1.jsonl.gz"] = gzip.decompress(files["docker-wrapper.1.jsonl.gz"])
    assert [name for name in made if made[name] != committed[name]] == []


def test_another_seed_makes_another_day() -> None:
    assert sample_files(1) == sample_files(1)
    assert sample_files(1)["github-support.csv"] != sample_files(2)["github-support.csv"]


def test_the_samples_stay_small_and_every_file_is_in_the_readme() -> None:
    assert sum(map(len, FILES.values())) < 1_700_000
    readme = (SAMPLES / "README.md").read_text()
    assert [name for name in FILES if name not in readme] == []


def test_the_csv_parses_and_holds_what_a_forge_sees() -> None:
    rows = table("github-support.csv")
    assert list(rows[0]) == ["timestamp", "method", "url", "status", "user_agent", "content_length"]
    assert 2_500 < len(rows) < 4_000
    assert all(None not in row and None not in row.values() for row in rows)
    stamps = [moment(row["timestamp"]) for row in rows]
    assert stamps == sorted(stamps)
    assert Counter(row["url"].split("/")[2] for row in rows).keys() == {
        *("github.com", "api.github.com", "codeload.github.com"),
    }
    agents = {row["user_agent"] for row in rows}
    assert any(agent.startswith('pip/24.3.1 {"ci":true') for agent in agents)
    assert any(" actions_orchestration_id/" in agent for agent in agents)
    assert {"git/2.39.5", "git/2.39.5 proactive", "git/2.47.3 proactive", "Go-http-client/2.0"} <= agents


def test_a_stock_git_is_asked_for_its_credentials_and_a_golden_one_is_not() -> None:
    def exchange(client: Client) -> list[tuple[str, int]]:
        build = Workflow("acme/web", "CI", "image", 1, client, (Errand("git", "acme/lib"),), ("arc",))
        fleet = simulate(small(workflows=(build,), hours=6))
        one = fleet.builds[0]
        return [(request.method, request.status) for request in fleet.requests if request.build is one]

    assert exchange(Client("git/2.39.5")) == [("GET", 401), ("GET", 200), ("POST", 200), ("POST", 200)]
    assert exchange(Client("git/2.47.3 proactive", proactive=True)) == [
        ("GET", 200),
        ("POST", 200),
        ("POST", 200),
    ]
    assert exchange(Client("git/2.39.5", credentials="bad")) == [("GET", 401), ("GET", 401)]
    assert exchange(Client("git/2.39.5", credentials="none")) == [("GET", 401)]
    assert exchange(Client("git/2.47.3 proactive", proactive=True, credentials="none")) == []


def test_the_worst_offender_is_clearly_first() -> None:
    (first, most), (_, second) = outcomes_by_repo().most_common(2)
    assert first == ("acme/payments", "challenge")
    assert most > 2 * second


def test_each_workflow_plays_its_part() -> None:
    count = outcomes_by_repo()
    stock = ("acme/web", "acme/search", "acme/infra", "acme/gateway", "acme/agent", "acme/ml-models")
    assert all(count[repo, "challenge"] >= 5 for repo in stock)
    assert count["acme/mobile", "challenge"] > 30, "tagged but too old: the 401s go on"
    assert count["acme/data-platform", "refused"] > 40
    assert count["acme/data-platform", "challenge"] == 0
    assert not any(repo in ("acme/ledger", "acme/docs") for repo, _ in count)
    assert count["no wrapper", "challenge"] > 30
    assert count["no wrapper", "refused"] > 5
    assert count["background", "challenge"] > 20
    assert count["background", "refused"] > 30
    assert {repo for repo, outcome in count if outcome == "refused"} == {
        *("acme/data-platform", "no wrapper", "background"),
    }


def test_a_migration_shows_in_the_middle_of_the_day() -> None:
    rows = table("github-support.csv")
    sent = [
        rows[int(row["data_row"])] for row in table("truth.csv", ";") if row["sent_by_repo"] == "acme/orders"
    ]
    nine = DAY.replace(hour=9)
    before = Counter(row["user_agent"] for row in sent if moment(row["timestamp"]) < nine)
    after = Counter(row["user_agent"] for row in sent if moment(row["timestamp"]) >= nine.replace(minute=10))
    assert before["git/2.39.5"] > 50
    assert before["git/2.47.3 proactive"] == 0
    assert after["git/2.39.5"] == 0
    assert after["git/2.47.3 proactive"] > 50
    assert not any(row["status"] == "401" for row in sent if row["user_agent"] == "git/2.47.3 proactive")


def test_the_truth_has_a_row_for_each_request_and_an_outcome_for_each_401() -> None:
    rows, answers = table("github-support.csv"), table("truth.csv", ";")
    assert [int(row["data_row"]) for row in answers] == list(range(len(rows)))
    assert all(
        (row["status"] == "401") == bool(told["outcome"]) for row, told in zip(rows, answers, strict=True)
    )
    assert all(bool(row["sent_by_run"]) == (row["sender"] == "build") for row in answers)
    api = [
        told
        for row, told in zip(rows, answers, strict=True)
        if "//api." in row["url"] and row["status"] == "401"
    ]
    assert {row["outcome"] for row in api} == {"refused"}


def test_nothing_in_the_truth_looks_like_a_request_log() -> None:
    header = FILES["truth.csv"].decode().split("\n", 1)[0].split(";")
    assert header == [
        *("data_row", "sent_by_repo", "sent_by_workflow", "sent_by_job", "sent_by_run", "sender", "outcome"),
    ]
    assert not {
        "timestamp",
        "ts",
        "time",
        "date",
        "url",
        "path",
        "method",
        "status",
        "code",
        "user_agent",
    } & {*header}


def test_whose_401_it_was_is_uncertain_but_not_hopeless() -> None:
    fleet = sample_fleet()
    starts = sorted(
        one.at for one in fleet.invocations if one.build.wrapped and one.argv[0] in ("build", "buildx")
    )
    refused = [request.at for request in fleet.requests if request.status == 401]
    candidates = [bisect_right(starts, at) - bisect_left(starts, at - 300) for at in refused]
    assert 3 < sum(candidates) / len(candidates) < 6


def test_the_morning_export_holds_the_first_rows_once_more() -> None:
    assert FILES["github-support-morning.csv"].count(b"\n") == FILES["github-support-morning.csv"].count(
        b"\r\n"
    )
    morning, rows = table("github-support-morning.csv", ";"), table("github-support.csv")
    assert 200 < len(morning) < len(rows)
    first = zip(morning, rows, strict=False)
    assert all(moment(one["Time"]) == moment(other["timestamp"]) for one, other in first)
    assert [one["HTTP URL"] for one in morning] == [other["url"] for other in rows[: len(morning)]]
    assert [one["User Agent"] for one in morning] == [other["user_agent"] for other in rows[: len(morning)]]


def test_mitmproxy_sees_one_node_and_was_down_for_half_an_hour() -> None:
    good, bad = objects("mitmproxy.jsonl")
    assert bad == []
    assert {row["client_ip"].rsplit(".", 1)[0] for row in good} == {"10.41.0"}
    assert {row["authorization"] for row in good} == {"***", None}
    stamps = [moment(row["timestamp"]) for row in good]
    gaps = sorted(pairwise(stamps), key=lambda pair: pair[0] - pair[1])
    start, end = gaps[0]
    assert start <= DAY.replace(hour=9, minute=12)
    assert end >= DAY.replace(hour=9, minute=42)


def test_squid_leaves_probes_a_broken_record_and_jobs_in_some_metadata() -> None:
    good, bad = objects("squid-connect.jsonl")
    assert len(good) > 500
    probes = [line for line in bad if line.endswith('"podmeta":-}')]
    assert sum("error:transaction-end-before-headers" in line for line in probes) >= 3
    assert sum("error:" not in line for line in probes) >= 1
    head, tail = (line for line in bad if line not in probes)
    assert json.loads(head + tail)["podmeta"]["node"] == "ci-node-c"
    assert {"run_id" in row["podmeta"] for row in good} == {True, False}
    assert any(row["authority"].startswith("http://deb.debian.org/") for row in good)


def test_squids_log_tells_where_images_came_from_and_what_nobody_expects() -> None:
    good, _ = objects("squid-connect.jsonl")
    nine = int(DAY.replace(hour=9).timestamp())
    late = {row["authority"] for row in good if int(row["ts"]) >= nine}
    hub = [int(row["ts"]) < nine for row in good if row["authority"] == "registry-1.docker.io:443"]
    mirror = [int(row["ts"]) < nine for row in good if row["authority"] == "mirror.acme.example:443"]
    assert sum(hub) > len(hub) / 2
    assert sum(mirror) < len(mirror) / 2
    assert {"ghcr.io:443", "[2001:db8:7::15]:443", "203.0.113.77:8443", "paste.example.net:443"} <= late
    denied = [row["podmeta"]["repo"] for row in good if row.get("result") == "TCP_DENIED"]
    assert len(denied) > 3
    assert set(denied) == {"acme/payments"}


def test_the_wrapper_is_whole_but_for_quotes_and_one_line_that_was_cut() -> None:
    good, bad = objects("docker-wrapper.1.jsonl.gz")
    later, worse = objects("docker-wrapper.jsonl")
    cut = [line for line in bad + worse if not line.endswith("}")]
    assert len(cut) == 1
    assert '"workflow"' not in cut[0]
    quoted = [line for line in bad + worse if line not in cut]
    assert len(quoted) > 5
    assert all('"workflow":"Integration "smoke" tests"' in line for line in quoted)
    assert max(row["ts"] for row in good) < "2026-03-17T09:00:00Z" <= min(row["ts"] for row in later)
    plain, rich = ([row for row in good + later if ("pod" in row) is more] for more in (False, True))
    assert all(list(row) == ["ts", "repo", "workflow", "job", "run_id", "cmd"] for row in plain)
    assert all({"orchestration_id", "run_attempt", "args"} <= row.keys() for row in rich)
    assert len(plain) > 4 * len(rich) > 0
    assert not any(row["repo"] == "acme/legacy-erp" for row in good + later)


def test_a_pull_that_failed_is_in_the_wrapper_and_in_no_event() -> None:
    wrapped = [*objects("docker-wrapper.1.jsonl.gz")[0], *objects("docker-wrapper.jsonl")[0]]
    asked = {row["run_id"] for row in wrapped if row["cmd"] == "pull"}
    events, bad = objects("docker-events.jsonl")
    assert bad == []
    pulled = [event for event in events if event["Action"] == "pull"]
    done = {event["run_id"] for event in pulled if "/golang:" in event["Actor"]["ID"]}
    assert done < asked
    built = {row["run_id"] for row in wrapped if row["cmd"] in ("build", "buildx")}
    assert not (asked - done) & built


def test_databases_that_tests_start_are_in_docker_events_alone() -> None:
    wrapped = [*objects("docker-wrapper.1.jsonl.gz")[0], *objects("docker-wrapper.jsonl")[0]]
    events, _ = objects("docker-events.jsonl")
    ids = {event["Actor"]["ID"] for event in events if event["Action"] == "pull"}
    assert {"redis:7.4-alpine", "mirror.acme.example/library/postgres:16-alpine"} < ids
    assert not any("redis" in row.get("args", "") for row in wrapped)


def test_docker_events_come_from_all_engines_and_hold_one_password() -> None:
    events, _ = objects("docker-events.jsonl")
    boxes = [event for event in events if event["Type"] == "container"]
    assert {("status" in event, "scope" in event, "run_id" in event) for event in boxes} == {
        (True, False, False),  # 17.03, not tagged
        (True, True, True),  # 20.10
        (False, True, True),  # 29
    }
    assert {"create", "start", "die", "oom", "destroy", "exec_die"} <= {event["Action"] for event in boxes}
    exits = {event["Actor"]["Attributes"]["exitCode"] for event in boxes if event["Action"] == "die"}
    assert {"0", "1", "137"} <= exits
    execs = {event["Action"] for event in boxes if event["Action"].startswith("exec_create")}
    assert execs == {"exec_create: /bin/sh -c migrate --user ci --password hunter2 up"}
    assert all(event["timeNano"] // 1_000_000_000 == event["time"] for event in events)
    assert {event["Action"] for event in events if event["Type"] == "image"} == {"pull", "tag", "untag"}


def test_the_only_secret_is_the_password_and_no_file_holds_a_token() -> None:
    everything = b"\n".join(lines for name, lines in FILES.items() if not name.endswith(".gz"))
    for shape in (b"gh" + b"p_", b"gh" + b"s_", b"github_" + b"pat_", b"Bearer", b"Basic ", b"token="):
        assert shape not in everything
    assert everything.count(b"hunter2") == FILES["docker-events.jsonl"].count(b"hunter2") > 0


def test_two_builds_never_hold_one_address_at_once() -> None:
    last: dict[str, float] = {}
    for build in sample_fleet().builds:
        assert last.get(build.ip, 0) < build.at
        last[build.ip] = build.until
    assert len(last) < len(sample_fleet().builds) / 5, "addresses are given out again"


@pytest.mark.parametrize("delays", ["lognormal", "bimodal", "flat"])
def test_no_image_is_tagged_before_its_build_has_asked_for_all_that_is_in_it(delays: Any) -> None:
    fleet = simulate(random_parameters(seed=3, delays=delays))
    tagged = {event.build: event.at for event in fleet.events if event.action == "tag"}
    asked = [request for request in fleet.requests if request.build in tagged]
    assert len(asked) > 500
    assert all(request.at < tagged[request.build] for request in asked if request.build)


def test_a_wrapper_on_half_of_the_runners_leaves_half_of_the_rows_to_nobody() -> None:
    fleet = simulate(small(coverage=0.5))
    senders = Counter(row["sender"] for row in csv.DictReader(io.StringIO(truth(fleet)), delimiter=";"))
    assert 0.3 < senders["no wrapper"] / senders.total() < 0.7
    assert len(docker_wrapper(fleet)) < len(fleet.invocations)


def test_a_clock_that_is_ahead_moves_the_csv_and_nothing_else() -> None:
    late, right = simulate(small(offset=90.0)), simulate(small())
    stamps = [
        [moment(row["timestamp"]) for row in csv.DictReader(io.StringIO(github_csv(fleet)))]
        for fleet in (late, right)
    ]
    assert {(ahead - there).total_seconds() for ahead, there in zip(*stamps, strict=True)} == {90}
    assert squid(late) == squid(right)
    assert docker_wrapper(late) == docker_wrapper(right)


def test_saved_jobs_and_pods_hold_an_address_one_after_the_other_and_outlast_their_builds() -> None:
    jobs = {job["runner_name"]: job for job in objects("jobs.jsonl")[0]}
    pods = json.loads(FILES["pods.json"])["items"]
    assert [pod["metadata"]["name"] for pod in pods] == list(jobs)
    assert {pod["spec"]["nodeName"] for pod in pods} == {"ci-node-a", "ci-node-d"}
    builds = {build.pod: build for build in sample_fleet().builds}
    held: dict[str, datetime] = {}
    for pod in pods:
        name, status = pod["metadata"]["name"], pod["status"]
        ended = moment(status["containerStatuses"][0]["state"]["terminated"]["finishedAt"])
        created = moment(pod["metadata"]["creationTimestamp"])
        assert held.get(status["podIP"], DAY) <= created
        held[status["podIP"]] = ended
        job, build = jobs[name], builds[name]
        started, completed = moment(job["started_at"]), moment(job["completed_at"])
        assert created < started
        assert completed < ended
        assert (started - DAY).total_seconds() < build.at - 20, "the checkout comes before the build"
        assert (completed - DAY).total_seconds() > build.until
        assert (build.run_id, build.ip) == (str(job["run_id"]), status["podIP"])
    assert len(held) < len(pods) / 4


def test_what_is_only_asked_at_some_hours_is_not_asked_at_others() -> None:
    nightly = Background(200, Errand("git", "acme/gitops", Client("git/2.34.1")), between=(1, 2))
    fleet = simulate(small(background=(nightly,), hours=3))
    asked = [request.at for request in fleet.requests if request.build is None]
    assert len(asked) > 300
    assert min(asked) > 3_600
    assert max(asked) < 7_210


def drawn(**options: Any) -> dict[str, str]:
    """The files of a random fleet."""
    fleet = simulate(random_parameters(**{"seed": 3, "builds_per_hour": 300, "hours": 3} | options))
    return evidence_files(fleet) | truth_files(fleet)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_seed_draws_one_fleet_and_another_seed_another() -> None:
    assert drawn() == drawn()
    assert drawn()["truth/requests.csv"] != drawn(seed=4)["truth/requests.csv"]


def test_the_truth_of_a_random_fleet_is_about_every_401_of_its_csv() -> None:
    files = drawn(coverage=0.7)
    lines = files["evidence/github-support.csv"].splitlines()
    sent = rows(files["evidence/github-support.csv"])
    told = rows(files["truth/requests.csv"])
    asked = json.loads(files["truth/parameters.json"])["asked"]
    refused = [line_no for line_no, row in enumerate(sent, start=2) if row["status"] == "401"]
    assert [int(row["line_no"]) for row in told] == refused
    assert all(",401," in lines[int(row["line_no"]) - 1] for row in told)
    midnight = datetime(2026, 3, 17, tzinfo=UTC)
    for row in told:
        request = sent[int(row["line_no"]) - 2]
        assert asked[int(row["asked"])] == {"url": request["url"], "user_agent": request["user_agent"]}
        assert (moment(request["timestamp"]) - midnight).total_seconds() == int(row["second"])
    runs = {json.loads(line)["run_id"] for line in files["evidence/docker-wrapper.jsonl"].splitlines()}
    assert {row["run_id"] for row in told if row["sender"] == "build"} <= runs
    assert all((row["sender"] == "build") == bool(row["run_id"]) == bool(row["ci_repo"]) for row in told)


def test_a_random_fleet_has_the_shares_that_were_asked_for() -> None:
    files = drawn(coverage=0.7, hours=8)
    told = rows(files["truth/requests.csv"])
    senders = Counter(row["sender"] for row in told)
    assert 0.03 < senders["background"] / len(told) < 0.07
    assert 0.25 < senders["no wrapper"] / (len(told) - senders["background"]) < 0.35
    flows = json.loads(files["truth/parameters.json"])["workflows"]
    assert len(flows) == len({(flow["ci_repo"], flow["workflow"]) for flow in flows}) == 57
    rate = {name: sum(flow[name] for flow in flows) for name in flows[0] if name.startswith("builds_")}
    assert rate == pytest.approx({"builds_per_hour": 210, "builds_per_hour_without_wrapper": 90})
    dependencies = Counter(row["asked"] for row in told if row["sender"] == "build")
    assert len(dependencies) > 40
    refusing = {row["ci_repo"] for row in told if row["outcome"] == "refused"} - {""}
    challenged = {row["ci_repo"] for row in told if row["outcome"] == "challenge"} - {""}
    assert not refusing & challenged
    assert 5 <= len(refusing) <= 8


def test_of_a_runner_without_the_wrapper_only_githubs_csv_knows() -> None:
    files = drawn(coverage=0.0)
    assert len(files["evidence/github-support.csv"].splitlines()) > 1_000
    seen = files["evidence/squid-connect.jsonl"].splitlines()
    assert all("error:transaction-end-before-headers" in line for line in seen)
    empty = ("mitmproxy.jsonl", "docker-wrapper.jsonl", "docker-events.jsonl")
    assert [files[f"evidence/{name}"] for name in empty] == ["", "", ""]
    assert files["evidence-jobs/jobs.jsonl"] == ""
    assert not any(row["ci_repo"] for row in rows(files["truth/requests.csv"]))


def test_a_fleet_of_one_workflow_and_one_of_thousands_can_be_drawn() -> None:
    assert len(random_parameters(seed=1, workflows=1).workflows) == 1
    many = random_parameters(seed=1, workflows=3_000).workflows
    assert len({flow.repo for flow in many}) == 3_000
    assert len({errand.target for flow in many for errand in flow.errands}) == 2_101


def test_no_log_of_a_fleet_without_proxies_and_streams_is_made_up() -> None:
    fleet = simulate(small(pools=(Pool("arc", (("node-a", 42),)),)))
    assert fleet.events == []
    assert mitmproxy(fleet) == []
    assert all(tunnel.build is None for tunnel in fleet.tunnels)


@pytest.mark.parametrize(
    ("shape", "under_10", "over_60"),
    [
        ("lognormal", (0.0, 0.15), (0.0, 0.2)),
        ("bimodal", (0.3, 0.7), (0.3, 0.7)),
        ("flat", (0.0, 0.15), (0.45, 0.75)),
    ],
)
def test_delays_have_the_shape_that_was_asked_for(
    shape: str, under_10: tuple[float, float], over_60: tuple[float, float]
) -> None:
    fleet = simulate(small(delays=shape, hours=6))
    first: dict[str, float] = {}
    for request in fleet.requests:
        assert request.build
        first.setdefault(request.build.run_id, request.at - request.build.at)
    assert under_10[0] <= sum(delay < 10 for delay in first.values()) / len(first) <= under_10[1]
    assert over_60[0] <= sum(delay > 60 for delay in first.values()) / len(first) <= over_60[1]


def test_acme_billing_moves_and_falls_back_and_the_rest_of_the_fleet_does_not_notice() -> None:
    story = sample_fleet()
    billing = [build for build in story.builds if build.workflow.repo == "acme/billing"]
    gits = [(build.git.proactive, 1.5 <= build.at / 3600 < 4) for build in billing]
    assert {golden for golden, _ in gits} == {True, False}
    assert all(golden == moved for golden, moved in gits)
    assert {build.node for build in billing} == {"ci-node-f"}
    assert "ci-node-f" not in {build.node for build in story.builds if build not in billing}
