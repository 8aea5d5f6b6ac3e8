"""Why a 401 is attributed as it is: clues that add up to the odds, in words and as a chart."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

import ciforensics as ci
from ciforensics.analysis.attribution.clues import Clue
from ciforensics.analysis.trust import calibration
from ciforensics.errors import CiforensicsError
from ciforensics.show import charts

if TYPE_CHECKING:
    import duckdb

    from cases import Build

DAY = datetime(2026, 11, 24, 3, 0, 0)
GIT, CURL = "git/2.39.5", "curl/8.5.0"
CLUES = ["activity", "url", "user agent", "outcome", "delay"]


def at(second: int) -> str:
    return f"{DAY + timedelta(seconds=second):%Y-%m-%dT%H:%M:%SZ}"


def csv(*asked: tuple[int, str, str]) -> str:
    """GitHub's log: second, repository and user agent of each 401, and at last a 200."""
    rows = [
        f"{at(second)},GET,https://github.com/acme/{repo}.git/info/refs,401,{agent},158"
        for second, repo, agent in sorted(asked)
    ]
    last = f"{at(max(asked)[0])},GET,https://github.com/acme/other.git/info/refs,200,{GIT},9"
    return "\n".join(["timestamp,method,url,status,user_agent,content_length", *rows, last, ""])


def build(second: int, run: str, job: str = "build", **more: str) -> str:
    """A line of the wrapper's log: run `web/CI/7` is repository acme/web, workflow CI, run id 7."""
    repo, workflow, run_id = run.split("/")
    named = {"repo": f"acme/{repo}", "workflow": workflow, "job": job, "run_id": run_id}
    return json.dumps({"ts": at(second), **named, "cmd": "build", **more}) + "\n"


def fleet(*, workflow: str = "CI") -> dict[str, str]:
    """`web`, with two jobs, asks lib after 20 s; `shop` asks tool, and lib after 60 s; so do some unknown."""
    chance = random.Random(5)  # noqa: S311
    asked, builds = [], []
    for n in range(150):
        web, shop = chance.randrange(40_000), chance.randrange(40_000)
        asked += [(web + chance.randrange(16, 25), "lib", GIT), (shop + chance.randrange(50, 70), "lib", GIT)]
        asked += [(shop + 10, "tool", GIT), (chance.randrange(40_000), "lib", chance.choice([GIT, CURL]))]
        builds += [build(web, f"web/{workflow}/1{n}"), build(web + 3, f"web/{workflow}/1{n}", "test")]
        builds += [build(shop, f"shop/Lint/2{n}")]
    return {"csv": csv(*asked, (90_000, "lib", GIT)), "wrapper": "".join(builds)}


@pytest.fixture
def attribution(case: Build) -> ci.Attribution:
    return ci.attribute(case(**fleet()))


def bits(why: ci.Explanation) -> dict[str, float]:
    return dict(why.clues.select("clue", "weight_bits").rows())


def odds(why: ci.Explanation) -> float:
    return math.log2(why.probability / why.runner_up_probability)


def test_the_weights_add_up_to_the_odds_and_the_odds_are_those_of_the_attribution(
    attribution: ci.Attribution,
) -> None:
    named = attribution.requests.group_by("line_no", "ci_repo").agg(pl.col("probability").sum())
    said = {(line_no, repo): probability for line_no, repo, probability in named.rows()}
    met = set()
    for line_no in attribution.requests["line_no"].unique().to_list():
        why = ci.explain(attribution, line_no=line_no)
        assert why.candidates["probability"].sum() == pytest.approx(1)
        by_repo = why.candidates.group_by("ci_repo").agg(pl.col("probability").sum())
        for repo, probability in by_repo.rows():
            assert probability == pytest.approx(said.get((line_no, repo), 0), abs=1.1e-3)
        if why.runner_up is not None:
            assert why.clues["clue"].to_list() == CLUES
            assert sum(bits(why).values()) == pytest.approx(odds(why), abs=1e-9)
            met.add((why.candidate, why.runner_up))
    assert {name for pair in met for name in pair} == {"acme/shop · Lint", "acme/web · CI", "unattributed"}


def test_the_clues_say_in_words_what_they_rest_on(case: Build) -> None:
    logs = fleet()
    asked = [(50_020, "lib", GIT), (60_060, "lib", GIT), (60_010, "tool", GIT)]
    known = logs["csv"].splitlines()[1:-1]
    header = "timestamp,method,url,status,user_agent,content_length"
    added = csv(*asked).splitlines()[1:]
    builds = build(50_000, "web/CI/7") + build(50_003, "web/CI/7", "test")
    builds += build(49_995, "shop/Lint/8") + build(60_000, "shop/Lint/9")
    con = case(csv="\n".join([header, *known, *added, ""]), wrapper=logs["wrapper"] + builds)
    attribution = ci.attribute(con)
    [line_no] = attribution.requests.filter(pl.col("ts") == DAY + timedelta(seconds=50_020))[
        "line_no"
    ].unique()
    why = ci.explain(attribution, line_no=line_no)
    assert (why.candidate, why.runner_up) == ("acme/web · CI", "acme/shop · Lint")
    assert why.candidates.select("run_id", "basis").row(0) == ("7", "model")
    detail = dict(why.clues.select("clue", "detail").rows())
    assert detail["activity"].startswith("2 builds nearby, ")
    assert "2 of 2 workflows do" in detail["url"]
    assert detail["delay"].startswith("17 s into run 7, typical 1")
    assert "; runner-up: 25 s into run 8, typical " in detail["delay"]
    assert max(bits(why), key=lambda clue: bits(why)[clue]) == "delay"
    assert why.text.startswith(f"csv, line {line_no}: acme/web · CI ")
    assert f"What says most for it is the delay: {detail['delay']}." in why.text
    assert repr(why).startswith(why.text)


def test_every_clue_has_words_and_what_another_log_says_of_builds_is_not_said_of_the_background(
    attribution: ci.Attribution,
) -> None:
    logs = set(Clue) - {Clue.KEY, Clue.CALIBRATION, *CLUES}
    problem = attribution.candidates.problem
    edges = replace(problem.edges, factors={clue: np.full(len(problem.edges), 4.0) for clue in logs})
    candidates = replace(attribution.candidates, problem=replace(problem, edges=edges))
    tool = candidates.requests.filter(pl.col("url").str.contains("tool"))["line_no"][0]
    why = ci.explain(replace(attribution, candidates=candidates), line_no=tool)
    assert (why.candidate, why.runner_up) == ("acme/shop · Lint", "unattributed")
    assert why.clues["clue"].to_list() == [clue for clue in Clue if clue in {*CLUES, *logs}]
    assert {clue: bits(why)[clue] for clue in logs} == pytest.approx(dict.fromkeys(logs, 2.0))
    assert why.clues.filter(pl.col("clue").is_in(logs) & ~pl.col("detail").str.contains("4 times")).is_empty()


def test_what_only_one_workflow_asks_and_what_nobody_known_asks(attribution: ci.Attribution) -> None:
    tool = attribution.candidates.requests.filter(pl.col("url").str.contains("tool"))["line_no"][0]
    why = ci.explain(attribution, line_no=tool)
    assert (why.candidate, why.runner_up) == ("acme/shop · Lint", "unattributed")
    assert bits(why)["url"] > 2
    assert "1 of 2 workflows do" in why.clues["detail"][1]
    last = attribution.candidates.requests.sort("ts").tail(1)["line_no"].item()
    nobody = ci.explain(attribution, line_no=last)
    assert (nobody.candidate, nobody.probability, nobody.runner_up) == ("unattributed", 1, None)
    assert nobody.clues.rows() == [("activity", None, "no known build ran then")]
    assert "What decides is the activity: no known build ran then." in nobody.text


def test_builds_nearby_that_never_send_such_are_told_from_none_at_all(case: Build) -> None:
    logs = fleet()
    strange = logs["csv"].replace(f"lib.git/info/refs,401,{CURL}", f"strange.git/info/refs,401,{CURL}", 1)
    attribution = ci.attribute(case(csv=strange, wrapper=logs["wrapper"]))
    line_no = attribution.candidates.requests.filter(pl.col("url").str.contains("strange"))["line_no"].item()
    why = ci.explain(attribution, line_no=line_no)
    assert why.candidate == "unattributed"
    [(clue, weight, detail)] = why.clues.rows()
    assert (clue, weight) == ("url", None)
    assert detail.endswith("nearby, but none of a workflow that is known to ask this url")


@pytest.mark.parametrize("temperature", [0.6, 2.0])
def test_recalibrated_odds_have_a_clue_of_their_own(attribution: ci.Attribution, temperature: float) -> None:
    checked = replace(attribution.calibration, temperature=temperature)
    fit = calibration.temper(attribution.candidates, attribution.fit, temperature)
    put_right = replace(attribution, fit=fit, calibration=checked)
    of_two = [
        why
        for line_no in attribution.candidates.requests["line_no"].head(200)
        for why in [ci.explain(put_right, line_no=line_no)]
        if why.runner_up not in {None, "unattributed"} and why.candidate != "unattributed"
    ]
    assert of_two
    for why in of_two:
        *model, (clue, weight, detail) = why.clues.rows()
        assert clue == "calibration"
        before = sum(bits for _, bits, _ in model)
        assert weight == pytest.approx(before / temperature - before)
        assert f"divided by {temperature:.2f}" in detail
        assert sum(bits(why).values()) == pytest.approx(odds(why))


def test_workflows_that_always_run_together_are_one_candidate(case: Build) -> None:
    starts = [37 * n * (n % 5 + 3) for n in range(40)]
    asked = [(start + 20 + start % 3, "lib", GIT) for start in starts]
    builds = [build(start, f"web/CI/{start}") + build(start + 1, f"shop/Lint/{start}1") for start in starts]
    attribution = ci.attribute(case(csv=csv(*asked), wrapper="".join(builds)))
    why = ci.explain(attribution, line_no=5)
    assert why.candidate == "acme/shop · Lint or acme/web · CI"
    assert set(why.candidates["ci_repo"].drop_nulls()) == {"acme/shop", "acme/web"}
    assert sum(bits(why).values()) == pytest.approx(odds(why))


def test_a_key_decides_and_is_named(case: Build) -> None:
    agent = f"{GIT} actions_orchestration_id/89c7.build.__default"
    logs = {
        "csv": csv((100, "lib", agent)),
        "wrapper": build(50, "web/CI/7", orchestration_id="89c7.build.__default"),
    }
    why = ci.explain(ci.attribute(case(**logs)), line_no=2)
    assert why.candidates.select("name", "run_id", "probability", "basis").rows() == [
        ("acme/web · CI", "7", 1.0, "orchestration id")
    ]
    assert (why.candidate, why.probability, why.runner_up) == ("acme/web · CI", 1, None)
    [(clue, weight, detail)] = why.clues.rows()
    assert (clue, weight) == ("key", None)
    carried = "the orchestration id 89c7.build.__default"
    assert detail == f"its user agent carries {carried}, of no build but run 7's"
    assert (
        charts.clues(why).alt
        == f"Why acme/web · CI? csv, line 2: acme/web · CI 100 %. key decides ({detail})."
    )


def test_a_run_of_which_only_the_number_is_known_is_not_nobody(con: duckdb.DuckDBPyConnection) -> None:
    place = {"file_id": 1, "line_no": 1}
    con.execute("INSERT INTO files BY NAME SELECT 1 AS file_id, 'x/log' AS path, 'mitmproxy' AS source")
    con.execute("INSERT INTO store.urls BY NAME SELECT 1 AS url_id, 'https://github.com/a/b' AS url")
    row = {**place, "ts": DAY, "status": 401, "url_id": 1, "client_ip": "10.0.0.1"}
    insert(con, "store.requests", row)
    tunnel = {**place, "source": "squid", "ts": DAY, "ts_kind": "end", "duration_ms": 0.0, "run_id": "8"}
    insert(con, "tunnels", {**tunnel, "client_ip": "10.0.0.1"})
    why = ci.explain(ci.attribute(con), line_no=1, file="log")
    assert why.candidate == "run 8"
    assert why.clues["detail"].to_list() == ["its address, 10.0.0.1, was held by run 8 alone at that time"]


def insert(con: duckdb.DuckDBPyConnection, table: str, row: dict[str, Any]) -> None:
    values = ", ".join(f"${n} AS {name}" for n, name in enumerate(row, start=1))
    con.execute(f"INSERT INTO {table} BY NAME SELECT {values}", list(row.values()))


def test_a_name_out_of_a_log_is_shown_and_does_nothing(case: Build) -> None:
    hostile = "<img src=x onerror=alert(1)> {0} datum['y'] \u202egpj \x1b[31m " + "long " * 40
    attribution = ci.attribute(case(**fleet(workflow=hostile)))
    tops = (ci.explain(attribution, line_no=line_no) for line_no in range(2, 200))
    why = next(each for each in tops if each.candidate.startswith("acme/web") and each.runner_up)
    html = why._repr_html_()
    assert "&lt;img" in html
    assert "<img" not in html
    assert all(text.isprintable() for text in (why.text, charts.clues(why).alt))
    assert charts.clues(why).png().startswith(b"\x89PNG")
    assert 700 < charts.clues(why)._repr_mimebundle_()[1]["image/png"]["width"] < 850


def test_the_chart_says_for_whom_each_clue_speaks(attribution: ci.Attribution) -> None:
    tool = attribution.candidates.requests.filter(pl.col("url").str.contains("tool"))["line_no"][0]
    why = ci.explain(attribution, line_no=tool)
    chart = charts.clues(why)
    assert chart.alt.startswith(f"Why acme/shop · Lint? csv, line {tool}: acme/shop · Lint ")
    assert f"activity {2 ** bits(why)['activity']:.1f} times for acme/shop · Lint (" in chart.alt
    rows = [row for rows in chart.spec.to_dict()["datasets"].values() for row in rows]
    drawn = {row["label"]: row["y"] for row in rows if "label" in row}
    assert drawn == pytest.approx(bits(why))


def test_of_several_files_one_must_be_named(case: Build) -> None:
    con = case(**{"a.csv": csv((10, "lib", GIT)), "b.csv": csv((7_000, "tool", GIT), (7_010, "lib", GIT))})
    attribution = ci.attribute(con)
    with pytest.raises(CiforensicsError, match=r"(?s)Several files have a 401 on line 2.*a\.csv, b\.csv"):
        ci.explain(attribution, line_no=2)
    assert (
        ci.explain(attribution, line_no=2, file="b.csv").request["url"].item().endswith("tool.git/info/refs")
    )
    path = attribution.requests.filter(pl.col("path").str.ends_with("a.csv"))["path"][0]
    assert ci.explain(attribution, line_no=2, file=path).request.select("file", "line_no").row(0) == (
        "a.csv",
        2,
    )
    assert ci.explain(attribution, line_no=3).request["file"].item() == "b.csv"


@pytest.mark.parametrize(
    ("line_no", "file", "fact"),
    [
        (9, None, r"There is no 401 on line 9.*lines with 401s: 2, 3"),
        (4, "csv", r"There is no 401 on line 4"),
        (2, "sv", r"No 401 is from a file 'sv'.*files with 401s: csv"),
        (2, "\x1b[31m", r"from a file '.*x1b\[31m'"),
    ],
)
def test_a_401_that_is_not_there_is_an_error_that_says_which_are(
    case: Build, line_no: int, file: str | None, fact: str
) -> None:
    attribution = ci.attribute(case(csv=csv((10, "lib", GIT), (20, "lib", GIT))))
    with pytest.raises(CiforensicsError, match=f"(?s){fact}"):
        ci.explain(attribution, line_no=line_no, file=file)


def test_without_any_401_none_can_be_explained(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(CiforensicsError, match="lines with 401s: none"):
        ci.explain(ci.attribute(con), line_no=2)
