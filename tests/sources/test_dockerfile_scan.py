"""The scan of Dockerfiles as a log: what ingest makes of it, and what the mirror would reach."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import ciforensics as ci
from ciforensics.errors import CiforensicsError

if TYPE_CHECKING:
    from pathlib import Path

    from cases import Build

DIGEST = "sha256:" + "0" * 64
IMAGE: dict[str, Any] = {
    "ts": "2026-11-24T03:04:13Z", "ci_repo": "acme/web", "dockerfile": "Dockerfile", "line": 2,
    "stage": "build", "instruction": "FROM", "platform": None, "reference": "golang:${GO}", "image": "golang",
    "image_tag": "1.24", "image_digest": None, "registry": "docker.io", "served_by": "golden", "reason": None,
}  # fmt: skip
UNREAD = {
    "ts": "2026-11-24T03:04:13Z",
    "ci_repo": None,
    "dockerfile": "a/Dockerfile",
    "line": 7,
    "error": "binary",
}
PINNED = {"served_by": "bypassed", "image_digest": DIGEST}
ELSEWHERE = {"served_by": "bypassed", "registry": "ghcr.io", "image": "ghcr.io/acme/base"}
UNKNOWN = {
    "served_by": "unknown",
    "image": None,
    "image_tag": None,
    "registry": None,
    "reason": "no value for X",
}
SCRATCH = {"served_by": "bypassed", "image": "scratch", "image_tag": None, "registry": None}


def log(*changes: dict[str, Any]) -> str:
    return "".join(json.dumps(IMAGE | change) + "\n" for change in changes)


def test_an_image_is_a_row_and_a_file_that_could_not_be_read_is_rejected_with_its_reason(case: Build) -> None:
    broken = json.dumps(IMAGE)[:-20]
    odd = log({"served_by": "elf"}, {"ts": "soon"}, {"served_by": None})
    with case(log=log({}, PINNED) + json.dumps(UNREAD) + "\n" + odd + broken) as con:
        columns = [name for name in IMAGE if name != "ts"]
        row = con.execute(f"SELECT {', '.join(columns)} FROM base_images WHERE line_no = 1").fetchone()
        assert row == tuple(IMAGE[name] for name in columns)
        assert con.execute("SELECT image_digest FROM base_images WHERE line_no = 2").fetchone() == (DIGEST,)
        assert con.execute("SELECT line_no, reason FROM rejected ORDER BY line_no").fetchall() == [
            (3, "binary"),
            (4, "served_by is none of golden, cache, bypassed, unknown"),
            (5, "no time that can be read"),
            (6, "served_by is none of golden, cache, bypassed, unknown"),
            (7, "no JSON object"),
        ]


def test_the_mirrors_reach_counts_the_images_that_are_pulled_and_known(case: Build) -> None:
    rows: list[dict[str, Any]] = [
        {},
        {"served_by": "cache"},
        PINNED,
        ELSEWHERE,
        UNKNOWN,
        SCRATCH,
        {"instruction": "COPY"},
    ]
    other = {"ci_repo": "acme/api", **UNKNOWN}
    nobody = {"ci_repo": None, "dockerfile": "x/Dockerfile"}
    with case(log=log(*rows, {**PINNED, "dockerfile": "sub/Dockerfile"}, other, nobody)) as con:
        assert con.execute("FROM mirror_reach").fetchall() == [
            ("acme/web", 2, 6, 1, 1, 2, 1, 1, 0.4, 0.2),
            ("acme/api", 1, 1, 0, 0, 0, 0, 1, None, None),
            (None, 1, 1, 1, 0, 0, 0, 0, 1.0, 1.0),
        ]


def test_of_several_scans_of_a_repository_the_latest_counts(case: Build) -> None:
    later = {"ts": "2026-11-25T03:04:13Z"}
    with case(old=log({}, {"line": 9}, {"ci_repo": "acme/api"}), new=log({**later, **PINNED})) as con:
        assert con.execute(
            "SELECT ci_repo, images, pinned FROM mirror_reach ORDER BY ci_repo"
        ).fetchall() == [
            ("acme/api", 1, 0),
            ("acme/web", 1, 1),
        ]


def test_a_case_without_a_scan_has_no_reach(empty: Any) -> None:
    assert empty.execute("FROM mirror_reach").fetchall() == []


def test_a_scan_in_which_nothing_could_be_read_is_still_known_for_one(case: Build) -> None:
    with case(log=json.dumps(UNREAD) + "\n") as con:
        assert con.execute("SELECT source, rows, rejected FROM files").fetchall() == [
            ("dockerfile_scan", 0, 1)
        ]


def test_a_secret_in_a_reference_does_not_reach_the_case(case: Build) -> None:
    token = "ghp_" + "a1B2" * 9
    with case(log=log({"reference": f"registry.acme.example/{token}", **UNKNOWN})) as con:
        assert token not in str(con.execute("FROM base_images").fetchall())


def test_a_file_that_is_forced_to_be_a_scan_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": 1}\n')
    with pytest.raises(CiforensicsError, match="No scan of Dockerfiles") as error:
        ci.ingest([tmp_path / "x.json"], case=tmp_path / "case.duckdb", source="dockerfile_scan")
    assert "golden scan PATH --json" in str(error.value)


def test_the_sample_tells_who_pins_and_who_builds_on_golden_images() -> None:
    with ci.connect() as con:
        reach = "SELECT ci_repo FROM mirror_reach WHERE {} ORDER BY ci_repo"
        assert con.execute(reach.format("pinned > 0")).fetchall() == [("acme/payments",)]
        assert con.execute(reach.format("golden_images > 0")).fetchall() == [
            ("acme/billing",),
            ("acme/ledger",),
            ("acme/orders",),
        ]
        assert con.execute(reach.format("unknown_images > 0")).fetchall() == [("acme/docs",)]
        assert con.execute("SELECT reason FROM rejected WHERE source = 'dockerfile_scan'").fetchall() == [
            ("unknown instruction: {%",)
        ]
