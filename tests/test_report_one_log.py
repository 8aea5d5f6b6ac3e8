"""A case with a single log still gives a whole report, in which the other notebooks say what they lack."""

from __future__ import annotations

from pathlib import Path

import pytest

import ciforensics as ci
from ciforensics.report import report

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
LOGS = sorted(
    path.name
    for path in SAMPLES.iterdir()
    if path.suffix != ".md"
    and path.name not in {"truth.csv", "docker-wrapper.1.jsonl.gz", "github-support-morning.csv"}
)


@pytest.mark.parametrize("log", LOGS)
def test_one_log_gives_a_whole_report_that_says_what_is_missing(log: str, tmp_path: Path) -> None:
    case = tmp_path / "case.duckdb"
    ci.ingest([SAMPLES / log], case=case)
    made = report(case, out=tmp_path / "out")
    assert made.errors == {}
    for name, told in made.run.notebooks.items():
        assert told["headline"], name
        assert "nan" not in told["headline"].split(), told["headline"]
    with ci.connect(case) as con:
        lacking = con.execute(
            "SELECT question, missing FROM answerable WHERE answer = 'no' ORDER BY question"
        ).fetchall()
    assert lacking, "one log does not answer everything"
    for question, missing in lacking:
        (page,) = made.folder.glob(f"notebooks/{question}-*.html")
        assert missing
        assert missing in page.read_text("utf-8").replace("&#39;", "'")
