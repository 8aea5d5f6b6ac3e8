"""Charts: what they say, that nothing is lost on the way, and that a PNG comes out."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import altair as alt
import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ciforensics.analysis.trust.shares import wilson
from ciforensics.show import charts
from ciforensics.show.charts import drawing

if TYPE_CHECKING:
    from ciforensics.wording import Data

THREE = datetime(2026, 11, 24, 3)
HOUR = timedelta(hours=1)


def _over_time(data: Data, **options: Any) -> charts.Chart:
    return charts.over_time(data, x="hour", y="n", title="When?", y_title="401s per hour", **options)


def _ranked(data: Data, **options: Any) -> charts.Chart:
    return charts.ranked(data, label="repo", value="n", title="Who?", x_title="401s", **options)


def _is_png(chart: charts.Chart) -> bool:
    png = chart.png()
    return png.startswith(b"\x89PNG\r\n\x1a\n") and int.from_bytes(png[16:20], "big") > 800


def _drawn_rows(chart: charts.Chart) -> list[dict[str, Any]]:
    return [row for rows in chart.spec.to_dict()["datasets"].values() for row in rows]


def test_a_stacked_chart_counts_each_colour_and_says_where_most_was() -> None:
    data = duckdb.default_connection().sql("""FROM (VALUES
        (TIMESTAMP '2026-11-24 03:00', 'challenge', 600),
        (TIMESTAMP '2026-11-24 03:00', 'refused', 16),
        (TIMESTAMP '2026-11-24 05:00', 'challenge', 1200)) t(hour, outcome, n)""")
    chart = _over_time(data, color="outcome")
    assert repr(chart) == (
        "When? 1,816 401s from 2026-11-24 03:00 to 2026-11-24 07:00: challenge (1,800), refused (16). "
        "Most from 2026-11-24 05:00: 1,200."
    )
    assert _is_png(chart)


def test_a_bucket_is_as_wide_as_the_smallest_distance_or_as_told() -> None:
    data = pl.DataFrame({"hour": [THREE, THREE + HOUR, THREE + 3 * HOUR], "n": [1, 2, 3]})
    assert "to 2026-11-24 07:00." in _over_time(data).alt
    assert "to 2026-11-25 06:00." in _over_time(data, bucket=timedelta(days=1)).alt


def test_one_bucket_is_a_chart_too() -> None:
    assert _is_png(_over_time(pl.DataFrame({"hour": [THREE], "n": [7]})))


def test_colours_beyond_six_are_added_up_and_nothing_is_lost() -> None:
    data = pl.DataFrame({"hour": [THREE] * 9, "kind": [f"kind {i}" for i in range(9)], "n": range(1, 10)})
    chart = _over_time(data, color="kind")
    assert "kind 8 (9), kind 7 (8), kind 6 (7), kind 5 (6), kind 4 (5), others (4) (10)" in chart.alt
    assert sum(row["y"] for row in _drawn_rows(chart)) == 45


def test_a_ranking_goes_from_the_longest_down_with_shares_and_the_rest_in_one_bar() -> None:
    repos = ["acme/web", "acme/shop", None, "x/a", "x/b", "x/c"]
    data = pl.DataFrame({"repo": repos, "n": [30, 50, 10, 4, 3, 3]})
    chart = _ranked(data, top=3)
    assert chart.alt == (
        "Who? 100 401s: acme/shop 50 (50.0 %), acme/web 30 (30.0 %), not known 10 (10.0 %), "
        "others (3) 10 (10.0 %)."
    )
    assert _is_png(chart)


def test_one_more_than_asked_for_is_shown_rather_than_called_others() -> None:
    assert "others" not in _ranked(pl.DataFrame({"repo": ["a", "b", "c"], "n": [3, 2, 1]}), top=2).alt


def test_long_names_that_look_alike_once_cut_stay_two_bars() -> None:
    names = [f"acme/{'x' * 60}-{middle}-{'y' * 60}" for middle in ("a", "b")]
    chart = _ranked(pl.DataFrame({"repo": names, "n": [2, 1]}))
    short = f"acme/{'x' * 17}…{'y' * 21}"
    assert chart.alt == f"Who? 3 401s: {short} 2 (66.7 %), {short} (2) 1 (33.3 %)."


def test_a_name_from_a_log_cannot_pass_for_the_rest() -> None:
    data = pl.DataFrame({"repo": ["others (2)", "a", "b", "c"], "n": [9, 8, 1, 1]})
    assert "others (2) 9 (47.4 %), a 8 (42.1 %), others (2) (2) 2 (10.5 %)" in _ranked(data, top=2).alt


def test_names_from_a_log_are_drawn_as_text() -> None:
    hostile = ["\x1b[31mred", "\u202egpj", "line\nbreak", "datum['x']", "</script><script>alert(1)", "", "{}"]
    chart = _ranked(pl.DataFrame({"repo": hostile, "n": [7, 6, 5, 4, 3, 2, 1]}))
    assert r"\x1b[31mred 7" in chart.alt
    assert r"\u202egpj 6" in chart.alt
    assert r"line\nbreak 5" in chart.alt
    assert _is_png(chart)


@given(st.lists(st.tuples(st.none() | st.text(), st.integers(0, 10**9)), min_size=1, max_size=40))
def test_whatever_the_names_the_bars_add_up(rows: list[tuple[str | None, int]]) -> None:
    data = pl.DataFrame(rows, schema={"label": pl.String, "y": pl.Float64}, orient="row", strict=False)
    folded, shown = drawing.fold(data, "label", by="y", most=5)
    assert len(set(shown)) == len(shown) <= 6
    assert set(folded["label"]) == set(shown)
    assert sum(drawing.total(folded, "label", name) for name in shown) == sum(n for _, n in rows)


def test_a_timeline_names_each_lane_with_its_reach_and_its_gaps() -> None:
    data = duckdb.default_connection().sql("""FROM (VALUES
        ('squid', TIMESTAMP '2026-11-24 03:00', TIMESTAMP '2026-11-24 04:00'),
        ('squid', TIMESTAMP '2026-11-24 06:00', TIMESTAMP '2026-11-24 09:00'),
        ('github_csv', TIMESTAMP '2026-11-24 02:00', TIMESTAMP '2026-11-24 02:00'),
        ('docker_events', NULL, NULL)) t(source, first_ts, last_ts)""")
    chart = charts.timeline(data, lane="source", start="first_ts", end="last_ts", title="What is covered?")
    assert chart.alt == (
        "What is covered? github_csv: 2026-11-24 02:00 to 2026-11-24 02:00; "
        "squid: 2026-11-24 03:00 to 2026-11-24 09:00 in 2 spans."
    )
    assert _is_png(chart)


def test_spans_that_touch_are_one() -> None:
    spans = [(THREE + i * HOUR, THREE + (i + 1) * HOUR) for i in (0, 1, 2, 5)]
    data = pl.DataFrame(spans, schema=["a", "b"], orient="row").with_columns(source=pl.lit("squid"))
    chart = charts.timeline(data, lane="source", start="a", end="b", title="What?")
    assert chart.alt == "What? squid: 2026-11-24 03:00 to 2026-11-24 09:00 in 2 spans."


@pytest.mark.parametrize(
    ("bucket", "words"),
    [
        (HOUR, "401s per hour"),
        (HOUR / 2, "401s per 30 minutes"),
        (HOUR * 24, "401s per day"),
        (HOUR / 3.6e6, "401s per 0.001 s"),
    ],
)
def test_an_axis_can_name_the_length_of_a_bucket(bucket: timedelta, words: str) -> None:
    data = pl.DataFrame({"hour": [THREE], "n": [1]})
    chart = charts.over_time(data, x="hour", y="n", title="When?", y_title="401s per {bucket}", bucket=bucket)
    assert chart.spec.to_dict()["encoding"]["y"]["title"] == words


def test_expected_counts_have_one_decimal() -> None:
    data = pl.DataFrame({"repo": ["a", "b"], "n": [1.25, 2000.0]})
    assert "2,001.2 401s: b 2,000 (99.9 %), a 1.2 (0.1 %)" in _ranked(data).alt


def test_one_moment_is_a_timeline_too() -> None:
    data = pl.DataFrame({"source": ["squid"], "a": [THREE], "b": [THREE]})
    assert _is_png(charts.timeline(data, lane="source", start="a", end="b", title="One?"))


def test_rates_are_of_all_requests_of_a_class_and_buckets_without_any_have_none() -> None:
    data = duckdb.default_connection().sql("""FROM (VALUES
        (DATE '2026-11-24', 'stock', 50, 100), (DATE '2026-11-25', 'stock', 40, 100),
        (DATE '2026-11-24', 'golden', 0, 0), (DATE '2026-11-25', 'golden', 0, 300)) t(day, kind, bad, n)""")
    chart = charts.rates(
        data,
        x="day",
        part="bad",
        whole="n",
        color="kind",
        title="Does it?",
        y_title="answered 401",
        count_title="requests per day",
    )
    assert chart.alt == (
        "Does it? golden: 0 of 300 answered 401 (0.0 %); stock: 90 of 200 answered 401 (45.0 %)."
    )
    assert _is_png(chart)


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_what_chance_allows_holds_the_share_itself(part: int, whole: int) -> None:
    frame = pl.DataFrame({"part": [float(min(part, whole))], "y": [float(whole)]})
    counted, of = pl.col("part"), pl.col("y")
    share, low, high = frame.select(counted / of, *wilson(counted, of)).row(0)
    assert 0 <= low <= share + 1e-9
    assert share - 1e-9 <= high <= 1
    assert high - low > 0


def test_a_meaning_has_one_colour_in_all_charts_and_others_get_the_free_ones() -> None:
    def colors(*names: str) -> list[str]:
        scale = drawing.colored(dict.fromkeys(names, "x")).to_dict()["scale"]
        return [str(color) for color in scale["range"]]

    assert colors("challenge", "refused") == [drawing.ORANGE, drawing.VERMILION]
    assert colors("npm", "challenge", "pip") == [drawing.BLUE, drawing.ORANGE, drawing.GREEN]
    six = colors("a", "b", "c", "d", "e", "f")
    assert len(set(six)) == 6


def test_without_rows_the_chart_says_so() -> None:
    data = pl.DataFrame(schema={"hour": pl.Datetime, "repo": pl.String, "n": pl.Int64})
    assert repr(_over_time(data)) == "When? No rows."
    assert repr(_ranked(data)) == "Who? No rows."
    assert _ranked(data).png().startswith(b"\x89PNG")


def test_sums_of_duckdb_and_odd_column_names_are_taken() -> None:
    data = duckdb.default_connection().sql(
        """SELECT TIMESTAMP '2026-11-24 03:00' AS "the.hour[0]", sum(x) AS "n ""q", INTERVAL 1 DAY AS gap
        FROM range(10) t(x)"""
    )
    chart = charts.over_time(data, x="the.hour[0]", y='n "q', title="When?", y_title="401s")
    assert chart.alt.startswith("When? 45 401s from 2026-11-24 03:00")
    assert _is_png(chart)


def test_times_with_a_zone_and_dates_are_drawn_in_utc() -> None:
    berlin = pl.DataFrame({"hour": [datetime(2026, 11, 24, 4, tzinfo=timezone(HOUR))], "n": [1]})
    plain = pl.DataFrame({"hour": [THREE], "n": [1]})
    assert _over_time(berlin).png() == _over_time(plain).png()
    rows = _drawn_rows(_over_time(plain))
    assert rows[0]["x"] == THREE.replace(tzinfo=UTC).timestamp() * 1000


def test_more_rows_than_altair_takes_by_default_are_drawn() -> None:
    data = pl.DataFrame({"hour": [THREE + i * HOUR for i in range(6000)], "n": [1] * 6000})
    assert _is_png(_over_time(data))


def test_the_same_numbers_make_the_same_picture_in_any_order_and_zone() -> None:
    script = """if True:
        import hashlib, datetime, polars as pl
        from ciforensics import charts
        hours = [datetime.datetime(2026, 3, 8, h) for h in range(6)]
        data = pl.DataFrame({"hour": hours[::-1] * 2, "kind": ["a"] * 6 + ["b"] * 6, "n": range(12)})
        chart = charts.over_time(data, x="hour", y="n", color="kind", title="When?", y_title="401s per hour")
        print(hashlib.sha256(chart.png()).hexdigest())"""
    environment = {**os.environ, "TZ": "America/New_York"}
    command = [sys.executable, "-c", script]
    elsewhere = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    hours = [THREE.replace(month=3, day=8, hour=h) for h in range(6)]
    counts = [*range(5, -1, -1), *range(11, 5, -1)]
    data = pl.DataFrame({"hour": hours * 2, "kind": ["a"] * 6 + ["b"] * 6, "n": counts})
    here = hashlib.sha256(_over_time(data, color="kind").png()).hexdigest()
    assert elsewhere.stdout.strip() == here


def test_a_notebook_gets_a_picture_its_size_and_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    data, metadata = _over_time(pl.DataFrame({"hour": [THREE], "n": [7]}))._repr_mimebundle_()
    assert set(data) == {"image/png", "text/plain"}
    assert data["text/plain"].startswith("When? 7 401s")
    assert 700 < metadata["image/png"]["width"] < 850


def test_in_jupyterlab_a_chart_is_drawn_with_tooltips_and_says_what_it_shows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "01.ipynb")
    chart = _over_time(pl.DataFrame({"hour": [THREE], "kind": ["refused"], "n": [2310]}), color="kind")
    data, _ = chart._repr_mimebundle_()
    assert set(data) == {"image/png", "text/plain", "application/vnd.vegalite.v5+json"}
    drawing = data["application/vnd.vegalite.v5+json"]
    assert drawing["description"] == chart.alt
    told = {tip["title"]: tip["field"] for tip in drawing["encoding"]["tooltip"]}
    assert list(told) == ["Time (UTC)", "kind", "401s per hour"]
    (row,) = [row for rows in drawing["datasets"].values() for row in rows]
    assert [row[field] for field in told.values()] == ["2026-11-24 03:00 to 03:01", "refused", 2310]


def test_the_look_stays_out_of_charts_that_are_not_ours() -> None:
    _over_time(pl.DataFrame({"hour": [THREE], "n": [7]})).png()
    assert alt.theme.active == "default"


@pytest.mark.parametrize("wrong", ["nope", "n; DROP TABLE x"])
def test_a_column_that_is_not_there_is_an_error(wrong: str) -> None:
    with pytest.raises((pl.exceptions.ColumnNotFoundError, duckdb.BinderException)):
        charts.over_time(
            duckdb.default_connection().sql("SELECT 1 AS n"), x=wrong, y="n", title="?", y_title="?"
        )


def _lane(job: str, jobs: int, median: float) -> dict[str, Any]:
    return {"job": job, "jobs": jobs, "p10": 1, "p25": 2, "median": median, "p75": 5, "p90": 9}


def test_a_spread_has_a_lane_for_each_group_and_says_how_many_are_not_drawn() -> None:
    rows = pl.DataFrame([_lane("few", 2, 3), _lane("many", 40, 4), _lane("none", 0, 3), _lane("one", 1, 3)])
    options: dict[str, Any] = {"label": "job", "count": "jobs", "title": "How many?", "x_title": "containers"}
    chart = charts.spread(rows, top=2, **options)
    assert chart.alt == (
        "How many? containers: many median 4, middle 80 % from 1 to 9 (40 jobs), "
        "few median 3, middle 80 % from 1 to 9 (2 jobs); 1 smaller ones are not drawn."
    )
    assert _is_png(chart)
    assert charts.spread(rows.head(0), **options).alt == "How many? No rows."


@pytest.mark.parametrize("longest", [0.0, 0.4, 3e6, 9e9])
def test_a_logarithmic_spread_takes_any_length(longest: float) -> None:
    rows = pl.DataFrame([_lane("a", 3, 3) | dict.fromkeys(("p10", "p25"), 0.0)])
    rows = rows.with_columns(p75=pl.lit(longest), p90=pl.lit(longest), median=pl.lit(0.0))
    assert _is_png(
        charts.spread(rows, label="job", count="jobs", title="Long?", x_title="s", logarithmic=True)
    )
