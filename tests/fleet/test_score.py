"""An attribution is measured against the truth, and the best that can be known is what Bayes' rule gives."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from statistics import NormalDist
from typing import Any

import polars as pl
import pytest

import ciforensics as ci
from ciforensics.errors import CiforensicsError
from ciforensics.fleet.posterior import find_posterior
from ciforensics.fleet.score import read_attribution, read_truth, score_requests
from program import run

# Who sent the 401s on lines 2, 3, 4 and 7: two runs of one workflow, another workflow, and nobody known.
TRUTH = pl.DataFrame(
    {
        "line_no": [2, 3, 4, 7],
        "ci_repo": ["acme/web", "acme/web", "acme/api", None],
        "workflow": ["CI", "CI", "Build", None],
        "run_id": ["1", "2", "3", None],
    }
)


def attributed(*rows: tuple[int, str | None, str | None, str | None, float]) -> pl.DataFrame:
    schema = {name: TRUTH.schema[name] for name in TRUTH.columns} | {"probability": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


ANSWER = attributed(
    (2, "acme/web", "CI", "1", 0.3),
    (2, "acme/web", "CI", "2", 0.3),
    (2, "acme/api", "Build", "3", 0.4),  # the likeliest run, but not the likeliest workflow
    (3, "acme/web", "CI", "2", 1.0),
    (4, "acme/web", "CI", "2", 0.6),
    (4, "acme/api", "Build", "3", 0.4),
    (7, None, None, None, 0.8),
    (7, "acme/api", "Build", "3", 0.2),
)


def write(folder: Path, rows: pl.DataFrame, **columns: Any) -> Path:
    """An attribution as a file."""
    told = {"source": "github_csv", "file_id": 1, "path": "x/github-support.csv", "basis": "model"} | columns
    path = folder / "answer.parquet"
    rows.with_columns(**{name: pl.lit(value) for name, value in told.items()}).write_parquet(path)
    return path


def test_the_runs_of_a_workflow_are_summed_and_nobody_is_an_answer() -> None:
    scored = score_requests(TRUTH, ANSWER)
    assert scored.requests == 4
    assert scored.top1 == 3 / 4, "lines 2, 3 and 7"
    assert scored.run_accuracy == 2 / 4, "lines 3 and 7"
    # Estimated 2.2, 1.0 and 0.8 of 4; true 2, 1 and 1.
    assert scored.share_error == pytest.approx(0.05)
    # Four 401s of their own bin each: probability 0.6, 0.6, 0.8, 1.0; right, wrong, right, right.
    assert scored.ece == pytest.approx((0.4 + 0.6 + 0.2 + 0) / 4)


def test_only_rows_called_exact_count_as_pinned() -> None:
    basis = pl.when(pl.col("line_no").is_in([3, 4])).then(pl.lit("address")).otherwise(pl.lit("model"))
    scored = score_requests(TRUTH, ANSWER.with_columns(basis=basis))
    assert scored.exact == 2
    assert scored.exact_accuracy == 0.5
    assert score_requests(TRUTH, ANSWER).exact_accuracy is None


def test_equal_parts_of_ten_hold_the_calibration() -> None:
    truth = pl.DataFrame({"line_no": range(100), "ci_repo": "acme/web", "workflow": "CI", "run_id": "1"})
    sure = truth.with_columns(probability=pl.lit(0.9))
    unsure = truth.with_columns(pl.lit(None, pl.String).alias("ci_repo"), probability=pl.lit(0.1))
    scored = score_requests(truth, pl.concat([sure, unsure]))
    assert scored.top1 == 1.0
    assert scored.ece == pytest.approx(0.1)


def test_a_401_that_the_attribution_lacks_is_an_error() -> None:
    with pytest.raises(CiforensicsError, match=r"lacks 1 of the truth's 4 401s, the first on line 4\.\nHint"):
        score_requests(TRUTH, ANSWER.filter(pl.col("line_no") != 4))


def test_a_line_that_is_no_401_is_an_error() -> None:
    with pytest.raises(CiforensicsError, match="names 1 lines that are no 401 of the truth, the first is 2"):
        score_requests(TRUTH.filter(pl.col("line_no") != 2), ANSWER)


def test_probabilities_that_do_not_sum_to_1_are_an_error() -> None:
    with pytest.raises(CiforensicsError, match=r"on line 7 they sum to 0\.800"):
        score_requests(TRUTH, ANSWER.filter((pl.col("line_no") != 7) | pl.col("ci_repo").is_null()))


def lone(**changes: Any) -> dict[str, Any]:
    """The parameters of one workflow that fetches once in every build, 25 s after its start, and a bot."""
    parameters = {
        "offset": 0.0,
        "delays": "lognormal",
        "workflows": [
            {
                "ci_repo": "acme/web",
                "workflow": "CI",
                "job": "image",
                "builds_per_hour": 60.0,
                "builds_per_hour_without_wrapper": 0.0,
                "requests": [{"asked": 0, "outcome": "challenge", "chance": 1.0, "median_s": 25.0}],
            }
        ],
        "background": [{"asked": 0, "outcome": "refused", "per_hour": 36.0, "between_hours": [0.0, 1.0]}],
    }
    return parameters | changes


def weighed(
    parameters: dict[str, Any], starts: list[int], second: int, *, outcome: str = ""
) -> dict[Any, float]:
    builds = pl.DataFrame(
        {
            "ci_repo": "acme/web",
            "workflow": "CI",
            "job": "image",
            "run_id": [str(start) for start in starts],
            "second": starts,
        }
    )
    request = pl.DataFrame({"line_no": 2, "outcome": outcome, "asked": 0, "second": second})
    rows = find_posterior(parameters, builds, request, with_outcome=bool(outcome))
    assert rows["probability"].sum() == pytest.approx(1)
    return dict(rows.select("run_id", "probability").iter_rows())


def test_the_best_answer_is_bayes_rule() -> None:
    def density(delay: float) -> float:
        return NormalDist(math.log(25), 0.6).pdf(math.log(delay)) / delay

    # Of 26.5 s in the mean, one is rounding and waiting and 0.04 the way; the bot asks 0.01 times a second.
    sent = weighed(lone(), [100, 113], 126)
    total = density(25.46) + density(12.46) + 0.01
    assert sent["100"] == pytest.approx(density(25.46) / total, abs=0.002)
    assert sent["113"] == pytest.approx(density(12.46) / total, abs=0.002)
    assert sent[None] == pytest.approx(0.01 / total, abs=0.002)


def test_a_build_that_began_later_sent_nothing_and_one_long_ago_next_to_nothing() -> None:
    assert weighed(lone(), [100], 99) == {None: pytest.approx(1)}
    assert weighed(lone(), [100], 100 + 20 * 25) == {None: pytest.approx(1)}


def test_an_outcome_is_a_clue_only_where_it_is_asked_for() -> None:
    assert weighed(lone(), [100], 126, outcome="challenge") == {"100": pytest.approx(1.0)}
    assert weighed(lone(), [100], 126, outcome="refused") == {None: pytest.approx(1)}


def test_the_hours_of_a_bot_and_the_offset_are_known() -> None:
    assert set(weighed(lone(), [3_650], 3_676)) == {"3650"}, "the bot's hour is over"
    shifted = weighed(lone(offset=500.0), [100], 626)
    assert shifted["100"] == pytest.approx(weighed(lone(), [100], 126)["100"])


def test_builds_without_a_wrapper_may_have_sent_it() -> None:
    bare = lone(background=[])
    bare["workflows"][0]["builds_per_hour_without_wrapper"] = 36.0
    assert weighed(bare, [100], 126)[None] == pytest.approx(weighed(lone(), [100], 126)[None])


@pytest.mark.parametrize("delays", ["lognormal", "bimodal", "flat"])
def test_the_true_posterior_of_a_fleet_is_calibrated(delays: str, tmp_path: Path) -> None:
    options = ("--builds-per-hour", "600", "--hours", "2", "--coverage", "0.8", "--offset", "-7.3")
    assert run("simulate", "--out", "fleet", "--delays", delays, *options, cwd=tmp_path).returncode == 0
    truth = read_truth(tmp_path / "fleet" / "truth")
    blind, seeing = (truth.best(with_outcome=clue) for clue in (False, True))
    assert blind
    assert seeing
    assert blind.requests == seeing.requests > 3_000
    assert max(blind.ece, seeing.ece) < 0.025
    assert max(blind.share_error, seeing.share_error) < 0.03
    assert 0.65 < blind.top1 < seeing.top1 - 0.01


def test_fleets_get_harder_with_more_builds(tmp_path: Path) -> None:
    rows = []
    for rate, hours in ((60, 12), (600, 2), (3_000, 0.5)):
        out = tmp_path / str(rate)
        run("simulate", "--out", out, "--builds-per-hour", str(rate), "--hours", str(hours), cwd=tmp_path)
        best = read_truth(out / "truth").best(with_outcome=False)
        assert best
        rows.append(best.top1)
    assert rows == [
        pytest.approx(0.98, abs=0.02),
        pytest.approx(0.88, abs=0.04),
        pytest.approx(0.76, abs=0.06),
    ]


def test_simulate_and_score_are_commands(tmp_path: Path) -> None:
    made = run("simulate", "--out", "fleet", "--seed", "5", "--hours", "3", cwd=tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    assert {str(path.relative_to(tmp_path / "fleet")) for path in (tmp_path / "fleet").rglob("*.*")} == {
        "evidence/github-support.csv",
        "evidence/docker-wrapper.jsonl",
        "evidence/mitmproxy.jsonl",
        "evidence/squid-connect.jsonl",
        "evidence/docker-events.jsonl",
        "evidence-jobs/jobs.jsonl",
        "evidence-jobs/pods.json",
        "truth/requests.csv",
        "truth/builds.csv",
        "truth/parameters.json",
    }
    truth = read_truth(tmp_path / "fleet" / "truth").requests
    answer = write(tmp_path, truth.select(TRUTH.columns).with_columns(probability=1.0))
    told = run("score", "fleet/truth", answer, "--json", cwd=tmp_path)
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [line["answer"] for line in lines] == [
        "attribution",
        "true parameters",
        "true parameters, outcome",
    ]
    assert [line["top1"] for line in lines] == [1.0, *(pytest.approx(0.98, abs=0.02) for _ in "12")]
    shown = run("score", "fleet/truth/requests.csv", answer, cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "share_error" in shown.stdout


def test_the_truth_is_about_lines_of_the_case_and_is_no_evidence(tmp_path: Path) -> None:
    run("simulate", "--out", "fleet", "--hours", "1", cwd=tmp_path)
    run("ingest", "fleet/evidence", cwd=tmp_path)
    with ci.connect(tmp_path / "case.duckdb") as con:
        rows = con.sql("SELECT line_no FROM requests WHERE source = 'github_csv' AND status = 401").fetchall()
    told = read_truth(tmp_path / "fleet" / "truth").requests["line_no"]
    assert sorted(line_no for (line_no,) in rows) == told.sort().to_list()
    assert "Nothing was recognised" in run("ingest", "fleet/truth", cwd=tmp_path).stderr


def test_an_attribution_of_two_exports_is_scored_on_the_one_that_the_truth_is_about(tmp_path: Path) -> None:
    other = write(tmp_path, ANSWER.with_columns(ci_repo=pl.lit("acme/no")), file_id=2, path="b/morning.csv")
    both = [pl.read_parquet(other), pl.read_parquet(write(tmp_path, ANSWER, path="a/github-support.csv"))]
    proxy = both[1].with_columns(source=pl.lit("mitmproxy"))
    pl.concat([*both, proxy]).write_csv(tmp_path / "both.csv")
    scored = score_requests(TRUTH, read_attribution(tmp_path / "both.csv", file="github-support.csv"))
    assert asdict(scored) == pytest.approx(asdict(score_requests(TRUTH, ANSWER)))


def test_the_truth_of_a_capture_counts_rows_from_0_and_jobs_by_number(tmp_path: Path) -> None:
    (tmp_path / "truth-requests.csv").write_text(
        "row,msec,status,url,user_agent,authenticated,job\n"
        "0,1.0,200,https://github.com/a,git,1,5\n1,2.0,401,https://github.com/a,git,0,5\n"
    )
    (tmp_path / "truth-jobs.csv").write_text(
        "n,pod_ip,repo,workflow,job,run_id\n5,10.0.0.1,acme/web,CI,image,77\n"
    )
    truth = read_truth(tmp_path)
    told = truth.requests.select("line_no", "ci_repo", "workflow", "run_id")
    assert told.rows() == [(3, "acme/web", "CI", "77")]
    assert truth.best(with_outcome=True) is None


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--hours", "-1", "There is no fleet with -1.0 hours."),
        ("--hours", "inf", "There is no fleet with inf hours."),
        ("--builds-per-hour", "0", "There is no fleet with 0.0 builds an hour."),
        ("--workflows", "0", "There is no fleet with 0 workflows."),
        ("--coverage", "1.2", "A coverage of 1.2 is no share."),
        ("--offset", "nan", "No clock is nan seconds ahead."),
    ],
)
def test_a_fleet_that_cannot_be_is_an_error(option: str, value: str, sentence: str, tmp_path: Path) -> None:
    told = run("simulate", "--out", "fleet", option, value, cwd=tmp_path)
    assert told.returncode == 1
    assert told.stderr.startswith(f"{sentence}\nHint: give ")
    assert not (tmp_path / "fleet").exists()


def test_simulate_writes_over_nothing(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for out in (".", "notes.txt"):
        told = run("simulate", "--out", out, cwd=tmp_path)
        assert (told.returncode, told.stderr.count("\n")) == (1, 2)
        assert "is there already" in told.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_cannot_be_scored_ends_in_a_sentence(tmp_path: Path) -> None:
    run("simulate", "--out", "fleet", "--hours", "1", cwd=tmp_path)
    (tmp_path / "junk.parquet").write_text("no Parquet")
    (tmp_path / "short.csv").write_text("line_no,probability\n2,1\n")
    proxy = write(tmp_path, ANSWER, source="mitmproxy")
    for truth, answer, sentence in (
        ("fleet/truth", "none.parquet", "none.parquet is no attribution"),
        ("fleet/truth", "junk.parquet", "junk.parquet is no attribution"),
        ("fleet/truth", "short.csv", "short.csv is no attribution"),
        ("fleet/truth", str(proxy), "holds no 401 of github-support.csv"),
        ("fleet", str(proxy), "There is no truth in fleet"),
    ):
        told = run("score", truth, answer, cwd=tmp_path)
        assert told.returncode == 1
        assert sentence in told.stderr
        assert "\nHint: " in told.stderr
