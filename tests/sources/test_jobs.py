"""Jobs and workflow runs of GitHub's API, in every form that programs save them in."""

from __future__ import annotations

import gzip
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

import ciforensics as ci
from ciforensics.errors import CiforensicsError

if TYPE_CHECKING:
    from pathlib import Path

    from cases import Build

API = "https://api.github.com/repos/acme/web/actions"
JOB: dict[str, Any] = {
    "id": 403, "run_id": 9018059362, "workflow_name": "CI", "head_branch": "main", "run_attempt": 2,
    "run_url": f"{API}/runs/9018059362", "url": f"{API}/jobs/403", "status": "completed",
    "html_url": "https://github.com/acme/web/actions/runs/9018059362/job/403", "conclusion": "success",
    "created_at": "2026-11-24T03:04:10Z", "started_at": "2026-11-24T03:04:13Z",
    "completed_at": "2026-11-24T03:04:15Z", "name": "build (1.21)", "labels": ["arc"],
    "steps": [{"name": "Checkout", "status": "completed", "number": 1}], "runner_id": 7,
    "runner_name": "arc-runner-13",
}  # fmt: skip
RUN: dict[str, Any] = {
    "id": 9018059362, "name": "CI", "path": ".github/workflows/ci.yml", "run_number": 17, "event": "push",
    "display_title": "Mend it", "status": "completed", "conclusion": "failure", "workflow_id": 5,
    "url": f"{API}/runs/9018059362", "run_attempt": 1, "created_at": "2026-11-24T03:04:09Z",
    "run_started_at": "2026-11-24T03:04:10Z", "updated_at": "2026-11-24T03:05:00Z",
    "repository": {"id": 1, "full_name": "acme/Web"}, "head_repository": {"full_name": "someone/web"},
}  # fmt: skip


def at(second: int, minute: int = 4) -> datetime:
    return datetime(2026, 11, 24, 3, minute, second)


BUILT = (
    at(13), at(15), "acme/web", "CI", "build (1.21)", "9018059362", 2, "arc-runner-13", "success"
)  # fmt: skip
COLUMNS = "started_at, completed_at, ci_repo, workflow, job, run_id, run_attempt, runner, conclusion"


def rows(con: Any) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = con.execute(f"SELECT {COLUMNS} FROM jobs ORDER BY line_no").fetchall()
    return rows


def page(*jobs: dict[str, Any]) -> str:
    return json.dumps({"total_count": len(jobs), "jobs": jobs})


@pytest.mark.parametrize(
    "text",
    [
        page(JOB, JOB),
        page(JOB) + page(JOB),
        page(JOB) + "\n" + page() + "\n" + page(JOB) + "\n",
        json.dumps(json.loads(page(JOB, JOB)), indent=2),
        f"[{page(JOB)}, {page(JOB)}]",
        json.dumps([JOB, JOB], indent=4),
        json.dumps(JOB) + "\n" + json.dumps(JOB) + "\n",
        json.dumps(JOB, indent=2) + json.dumps(JOB, indent=2),
        "\n".join(
            json.dumps({"action": action, "workflow_job": JOB, "repository": {"full_name": "acme/web"}})
            for action in ("in_progress", "completed")
        ),
    ],
    ids=[
        "a page", "pages, glued", "pages, one a line", "printed", "slurped", "an array", "one a line",
        "one after the other", "webhooks",
    ],
)  # fmt: skip
def test_however_jobs_are_saved_the_same_rows_come_out(case: Build, text: str) -> None:
    with case(jobs=text) as con:
        assert rows(con) == [BUILT, BUILT]
        assert con.execute("SELECT source, rejected, skipped FROM files").fetchall() == [("jobs", 0, 0)]


def test_jobs_are_known_in_gzip_and_in_the_envelope_of_a_container(case: Build) -> None:
    cri = "".join(f"2026-11-24T03:05:00.1Z stdout F {json.dumps(job)}\n" for job in (JOB, JOB))
    listed = f"2026-11-24T03:05:01.1Z stdout F {page(JOB, JOB)}\n2026-11-24T03:05:02.1Z stdout F {page()}\n"
    with case(gz=gzip.compress(page(JOB).encode()), cri=cri + listed) as con:
        assert set(rows(con)) == {BUILT}
        files = "SELECT rows, rejected, skipped FROM files ORDER BY rows"
        assert con.execute(files).fetchall() == [(1, 0, 0), (4, 0, 1)]


def test_a_workflow_run_is_a_row_without_a_job_that_ends_when_it_is_completed(case: Build) -> None:
    runs = [
        RUN,
        RUN | {"status": "in_progress", "conclusion": None, "name": None, "id": 9},
        {"databaseId": 8, "workflowName": "CI", "name": "CI", "status": "completed", "attempt": 1,
         "conclusion": "success", "startedAt": "2026-11-24T03:04:10Z", "updatedAt": "2026-11-24T03:05:00Z",
         "url": "https://github.com/acme/web/actions/runs/8"},
    ]  # fmt: skip
    with case(runs=json.dumps({"total_count": 3, "workflow_runs": runs})) as con:
        assert rows(con) == [
            (at(10), at(0, 5), "acme/Web", "CI", None, "9018059362", 1, None, "failure"),
            (at(10), None, "acme/Web", ".github/workflows/ci.yml", None, "9", 1, None, None),
            (at(10), at(0, 5), "acme/web", "CI", None, "8", 1, None, "success"),
        ]


def test_jobs_as_gh_run_view_prints_them_have_their_run_from_the_url(case: Build) -> None:
    job = {
        "completedAt": "0001-01-01T00:00:00Z", "conclusion": "", "databaseId": 403, "name": "build",
        "startedAt": "2026-11-24T03:04:13Z", "status": "in_progress", "steps": [],
        "url": "https://github.com/acme/web/actions/runs/9018059362/job/403",
    }  # fmt: skip
    with case(view=json.dumps({"attempt": 1, "jobs": [job], "name": "CI", "workflowName": "CI"})) as con:
        assert rows(con) == [
            (at(13), None, "acme/web", None, "build", "9018059362", None, None, None)
        ]  # fmt: skip


def test_what_never_ran_is_skipped_by_reason_and_what_still_runs_has_no_end(case: Build) -> None:
    jobs = [
        JOB | {"status": "queued", "conclusion": None, "completed_at": None, "runner_name": None},
        JOB | {"conclusion": "skipped", "runner_name": ""},
        JOB | {"conclusion": "cancelled", "runner_name": ""},
        JOB | {"conclusion": "cancelled"},
        JOB | {"status": "in_progress", "conclusion": None, "completed_at": None},
        JOB | {"completed_at": "0001-01-01T00:00:00Z", "runner_name": ""},
    ]
    with case(jobs=page(*jobs)) as con:
        assert [row[-2:] for row in rows(con)] == [
            ("arc-runner-13", "cancelled"),
            ("arc-runner-13", None),
            (None, "success"),
        ]
        assert [row[1] for row in rows(con)] == [at(15), None, None]
        assert con.execute("SELECT reason, records FROM skipped ORDER BY reason").fetchall() == [
            ("a job that has not started (queued)", 1),
            ("a job that never ran (skipped)", 1),
            ("a job that was cancelled before a runner took it", 1),
        ]


def test_the_repository_is_told_by_whatever_names_it(case: Build) -> None:
    bare = {key: value for key, value in JOB.items() if key not in ("run_url", "url", "html_url")}
    jobs = [
        bare | {"run_url": "https://ghes.acme.example/api/v3/repos/acme/web/actions/runs/9018059362"},
        bare | {"html_url": "https://github.com/Acme/Web/actions/runs/9018059362/job/403"},
        bare | {"url": f"{API}/jobs/403"},
        bare | {"url": "https://elsewhere.example/acme"},
    ]
    with case(jobs=page(*jobs)) as con:
        assert [row[2] for row in rows(con)] == ["acme/web", "Acme/Web", "acme/web", None]


def test_what_cannot_be_read_among_the_pages_is_rejected_with_a_reason_and_the_rest_is_kept(
    case: Build,
) -> None:
    error = json.dumps({"message": "API rate limit exceeded", "documentation_url": "https://docs.github.com"})
    event = json.dumps({"action": "created", "check_run": {"id": 1}})
    odd = page(
        JOB | {"started_at": None}, JOB | {"run_id": None, "run_url": None, "html_url": None}, {"a": 1}
    )
    text = "\n".join([page(JOB), error, event, odd, page(JOB)[:-40], "oops", page(JOB)])
    with case(jobs=text) as con:
        assert rows(con) == [BUILT, BUILT]
        assert con.execute("SELECT line_no, reason FROM rejected ORDER BY line_no").fetchall() == [
            (2, "an error of the API: API rate limit exceeded"),
            (4, "no time that can be read"),
            (5, "no run id"),
            (6, "no job and no workflow run"),
            (7, "broken JSON"),
        ]
        assert con.execute("SELECT reason FROM skipped").fetchall() == [("another event of a webhook",)]


def test_values_of_the_wrong_kind_are_no_trouble(case: Build) -> None:
    odd = {
        "name": {"a": 1}, "workflow_name": ["x"], "run_attempt": "two", "runner_name": 12, "conclusion": True,
        "repository": "acme/web", "steps": None, "run_url": 7, "html_url": None, "url": None, "status": [],
    }  # fmt: skip
    with case(jobs=page(JOB, JOB | odd)) as con:
        assert rows(con)[1] == (at(13), at(15), None, None, None, "9018059362", None, "12", None)


def test_a_file_that_grows_by_pages_is_read_from_where_it_ended(tmp_path: Path) -> None:
    text = "".join(page(JOB | {"run_id": run}, JOB | {"run_id": run + 1}) for run in range(1, 9, 2))
    (tmp_path / "jobs.json").write_text(text)
    ci.ingest([tmp_path / "jobs.json"], case=tmp_path / "whole.duckdb")
    for size in (1000, 1700, 1701, 3000, len(text)):
        (tmp_path / "jobs.json").write_text(text[:size])
        [report] = ci.ingest([tmp_path / "jobs.json"], case=tmp_path / "grown.duckdb")
    assert report.rejected == 0
    with ci.connect(tmp_path / "whole.duckdb") as whole, ci.connect(tmp_path / "grown.duckdb") as grown:
        query = "SELECT * EXCLUDE file_id FROM jobs ORDER BY line_no"
        assert grown.execute(query).fetchall() == whole.execute(query).fetchall()


def test_a_secret_in_a_name_does_not_reach_the_case(case: Build) -> None:
    token = "ghp_" + "a1B2" * 9
    with case(jobs=page(JOB | {"name": f"build {token}"})) as con:
        assert token not in str(con.execute("FROM jobs").fetchall())


def test_a_file_that_is_forced_to_be_jobs_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": 1}')
    with pytest.raises(CiforensicsError, match=r"No jobs of GitHub's API") as error:
        ci.ingest([tmp_path / "x.json"], case=tmp_path / "case.duckdb", source="jobs")
    assert "gh api --paginate" in str(error.value)
