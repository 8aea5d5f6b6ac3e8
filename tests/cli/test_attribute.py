"""`ciforensics attribute`, and what it says where evidence is missing or odd."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl
import pytest

import ciforensics as ci
from program import run

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "timestamp,method,url,status,user_agent,content_length\n"
URL = "https://github.com/{}.git/info/refs?service=git-upload-pack"
STARTS = range(0, 3_000, 100)


def moment(second: int, *, year: int = 2026) -> str:
    return f"{year}-11-24T{3 + second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z"


def asked(second: int, status: int = 401, repo: str = "acme/lib") -> str:
    return f"{moment(second)},GET,{URL.format(repo)},{status},git/2.39.5,0\n"


def built(second: int, repo: str = "acme/web", workflow: str = "CI", run_id: str = "7", **at: int) -> str:
    keys = {"repo": repo, "workflow": workflow, "job": "build", "run_id": run_id, "cmd": "build"}
    return json.dumps({"ts": moment(second, **at)} | keys) + "\n"


ASKED = HEADER + "".join(asked(start + 30) for start in STARTS) + asked(3_200, 200)
BUILT = "".join(built(start, run_id=str(start)) for start in STARTS)


def attributed(folder: Path, csv: str | None, wrapper: str | None, *options: str) -> str:
    """What the command prints for these logs."""
    (folder / "logs").mkdir()
    for name, content in (("github.csv", csv), ("wrapper.jsonl", wrapper)):
        if content is not None:
            (folder / "logs" / name).write_text(content)
    run("ingest", "logs", cwd=folder)
    done = run("attribute", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_ranks_workflows_and_writes_candidates_and_workflows(tmp_path: Path) -> None:
    told = attributed(tmp_path, ASKED, BUILT, "--out", "found.parquet", "--workflows", "flows.csv")
    assert "acme/web · CI" in told
    assert "Of 30 401s, 0.0 % are named by a shared key" in told
    assert "calibrated only if the model holds: 0 of the 500 requests" in told
    assert "made-up fleets" in told
    found = pl.read_parquet(tmp_path / "found.parquet")
    assert found.columns == [
        *("source", "file_id", "path", "line_no", "ts", "url", "user_agent", "outcome"),
        *("ci_repo", "workflow", "job", "run_id", "probability", "basis"),
    ]
    sums = found.group_by("line_no").agg(pl.col("probability").sum())["probability"]
    assert sums.to_list() == pytest.approx([1.0] * 30)
    assert pl.read_csv(tmp_path / "flows.csv")["name"][0] == "acme/web · CI"
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix in {".parquet", ".csv"}) == [
        "flows.csv",
        "found.parquet",
    ]


def test_a_workflow_that_looks_like_a_formula_stays_text_in_a_spreadsheet(tmp_path: Path) -> None:
    evil = "".join(built(start, workflow="=HYPERLINK(1)", run_id=str(start)) for start in STARTS)
    attributed(tmp_path, ASKED, evil, "--out", "found.csv")
    lines = (tmp_path / "found.csv").read_text().splitlines()
    assert sum('"\'=HYPERLINK(1)"' in line for line in lines) >= 28
    assert not any('"=HYPERLINK' in line for line in lines)


@pytest.mark.parametrize(
    ("csv", "wrapper", "sentence"),
    [
        (ASKED, None, "Missing: the docker wrapper's log (docker_wrapper) or GitHub's jobs (jobs)."),
        (None, BUILT, "There is no 401 to attribute. Missing: GitHub's CSV"),
        (HEADER + asked(5, 200), BUILT, "There is no 401 to attribute."),
        (HEADER + "".join(map(asked, STARTS)), BUILT, "Missing: a CSV with all statuses."),
        (ASKED, built(0), "Of 30 401s"),
        (HEADER + asked(9) * 50, built(9) * 20, "Of 50 401s"),
        (ASKED, "".join(built(s, year=2025) for s in STARTS), "No build ran in the 320 s before any 401"),
        (ASKED, "".join(built(s, "", "", "") for s in STARTS), "30 of 30 builds name no repository"),
        (ASKED, "".join(built(s, workflow="", run_id=str(s)) for s in STARTS), "acme/web "),
        (ASKED, "".join(built(s, run_id="5") * 3 for s in STARTS), "acme/web · CI"),
    ],
    ids=[
        *("no wrapper", "no csv", "no 401", "only 401s", "one build", "equal times", "a year off"),
        *("no names", "no workflow name", "matrix legs"),
    ],
)
def test_odd_evidence_ends_in_an_answer_or_in_a_sentence(
    tmp_path: Path, csv: str | None, wrapper: str | None, sentence: str
) -> None:
    assert sentence in attributed(tmp_path, csv, wrapper)


def test_ten_thousand_workflows_are_no_trouble(tmp_path: Path) -> None:
    many = "".join(built(n % 3_000, f"acme/r{n}", run_id=str(n)) for n in range(10_000))
    told = attributed(tmp_path, ASKED, many + BUILT)
    assert "Of 30 401s" in told


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--out", "found.xlsx"), 2, "ends in .parquet or .csv"),
        (("--out", "nowhere/found.csv"), 1, "Hint:"),
        (("--observer", "mitmproxi"), 1, "observers in it: github_csv"),
        (("--build-window-s", "0"), 1, "Hint:"),
        (("--case", "no.duckdb"), 1, "Hint:"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, options: tuple[str, ...], code: int, message: str
) -> None:
    attributed(tmp_path, ASKED, BUILT)
    done = run("attribute", *options, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr


def test_the_same_request_in_a_proxys_log_names_the_run_that_held_the_address(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    # Uneven, as a rhythm would fit at many offsets.
    seconds = sorted((n * n * 7 % 2_999, f"acme/lib-{n % 40}") for n in range(600))
    (logs / "github.csv").write_text(
        HEADER + "".join(asked(second, repo=repo) for second, repo in seconds) + asked(3_200, 200)
    )
    same = {"method": "GET", "status": 401, "user_agent": "git/2.39.5", "client_ip": "10.1.0.7"}
    proxied = [same | {"timestamp": moment(second), "url": URL.format(repo)} for second, repo in seconds]
    (logs / "mitmproxy.jsonl").write_text("".join(json.dumps(one) + "\n" for one in proxied))
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "runner-a", "namespace": "arc", "creationTimestamp": moment(0)},
        "spec": {"nodeName": "node-1"},
        "status": {"phase": "Running", "podIP": "10.1.0.7", "startTime": moment(0)},
    }
    (logs / "pods.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [pod]}))
    job = {
        "run_url": "https://api.github.com/repos/acme/shop/actions/runs/99",
        "workflow_name": "Nightly",
        "name": "e2e",
        "run_id": 99,
        "run_attempt": 1,
        "runner_name": "runner-a",
        "status": "completed",
        "conclusion": "success",
        "started_at": moment(0),
        "completed_at": moment(3_300),
        "id": 1,
    }
    (logs / "jobs.jsonl").write_text(json.dumps(job) + "\n")
    ci.ingest([logs], case=tmp_path / "case.duckdb")
    with ci.connect(tmp_path / "case.duckdb") as con:
        found = ci.attribute(con).requests.filter(pl.col("basis") == "same request")
    assert found.select("ci_repo", "workflow", "run_id").unique().rows() == [("acme/shop", "Nightly", "99")]
    assert len(found) >= len(seconds) / 2


def test_the_old_name_of_an_option_names_the_new_one(tmp_path: Path) -> None:
    done = run("attribute", "--window-s", "320", cwd=tmp_path)
    assert done.returncode == 2
    assert "--build-window-s" in done.stderr
