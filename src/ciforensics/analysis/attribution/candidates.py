"""The 401s of a case and the builds that could have sent them, as the numbers that the model takes.

SQL decides which builds are candidates (`views/builds/build_candidates.sql`) and which requests a key names
the run of (`views/links/exact_keys.sql`); here texts become numbers, and seconds become edges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ciforensics.analysis.attribution.clues import Clue
from ciforensics.analysis.attribution.delays import Bins
from ciforensics.analysis.attribution.names import RUN, TASK, workflow_name
from ciforensics.analysis.attribution.problem import Builds, Edges, Problem, Requests
from ciforensics.analysis.links.sightings import find_sightings, weigh_addresses
from ciforensics.wording import Result, Sentence, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb
    from numpy.typing import NDArray

    from ciforensics.analysis.links.sightings import Sightings

    Ints = NDArray[np.int64]

_NAMED = 3  # members that the name of a group names
_HOUR = 3600
_SHORTEST = 60.0  # of an hour's seconds: a log of one second would make every rate look huge


@dataclass(frozen=True, eq=False, repr=False)
class Candidates(Result):
    """401s, the builds that could have sent them, and the problem that they make.

    Attributes:
        requests: a row for each 401, in the problem's order: its place and content, and where a key names its
            run `basis` and the run.
        builds: a row for each build, with its `run` and its `task` as numbers. `group`: the names of the
            workflows whose builds always start together with it, e.g. `a or b`; such are one task.
        runs: `ci_repo`, `workflow`, `job` and `run_id` of each run, in the order of its numbers.
        tasks: `ci_repo`, `workflow` and `job` of each task, in the order of its numbers (of a group: of its
            first member), and its `name`.
        hours: the start of each recorded hour, in hours since 1970.
        problem: the same in numbers.
        by_second: `second`, `build_id` and `after_start_s` of each build that could have sent what came in
            that second.
    """

    requests: pl.DataFrame
    builds: pl.DataFrame
    runs: pl.DataFrame
    tasks: pl.DataFrame
    hours: Ints
    problem: Problem
    by_second: Mapping[str, NDArray[Any]]

    def _said(self) -> tuple[Sentence]:
        edges, tasks = len(self.problem.edges), len(self.tasks)
        counts = {"requests": len(self.requests), "builds": len(self.builds), "edges": edges, "tasks": tasks}
        text = "{requests} requests, {builds} builds of {tasks} jobs, {edges} edges between them."
        return (say(text, **counts),)


def gather(
    con: duckdb.DuckDBPyConnection,
    *,
    build_window_s: int,
    offset_s: float,
    observer: str | None,
    fetches: bool = False,
) -> Candidates:
    """Reads a case.

    Args:
        con: a connection to a case.
        build_window_s: a build is a candidate for so many seconds after its start.
        offset_s: by how much the observer's clock is ahead of the builds'.
        observer: whose requests are counted.
        fetches: git fetches that got no 401 take part too; their outcome is `answered`.
    """
    requests, told = _read_requests(con, observer, fetches=fetches)
    builds, runs, tasks = _numbered(
        pl.DataFrame(con.sql("FROM builds ORDER BY build_id")), pl.DataFrame(con.sql("FROM always_together"))
    )
    # Not by con.sql(): with parameters it takes every value through Python, 3 s for 2 M rows.
    by_second = con.execute(
        "SELECT second, build_id::INTEGER AS build_id, after_start_s::INTEGER AS after_start_s "
        "FROM build_candidates(p_build_window_s := $1, p_offset_s := $2, p_observer := $3, p_fetches := $4) "
        "ORDER BY second, build_id",
        [build_window_s, offset_s, observer, fetches],
    ).fetchnumpy()
    edges = _edges(requests, builds, by_second)
    addresses = weigh_addresses(con, requests, (edges.request, edges.build), told)
    factors = {Clue.SAME_REQUEST: addresses}
    edges = replace(edges, factors={clue: factor for clue, factor in factors.items() if len(factor)})
    recorded = pl.DataFrame(con.sql("FROM observed_hours(p_observer := $1)", params=[observer]))
    hours, seconds = _recorded(recorded)
    hour = np.searchsorted(hours, requests["second"].fill_null(0).to_numpy() // _HOUR)
    problem = Problem(
        requests=Requests(
            shard=requests["shard"].to_numpy(),
            outcome=requests["outcome_no"].to_numpy(),
            hour=hour.clip(0, max(0, len(hours) - 1)).astype(np.int32),
            keyed=requests["basis"].is_not_null().to_numpy(),
            weight=requests["second"].is_not_null().to_numpy().astype(float),
            n_shards=requests["shard"].n_unique(),
            n_outcomes=requests["outcome_no"].n_unique(),
        ),
        builds=Builds(
            task=builds["task"].to_numpy(),
            exposure=_exposure(builds, recorded, offset_s),
            life=_life(builds, build_window_s, offset_s),
            n_tasks=len(tasks),
        ),
        edges=edges,
        hours=seconds,
        bins=Bins.up_to(build_window_s),
    )
    return Candidates(
        requests=requests,
        builds=builds,
        runs=runs,
        tasks=tasks,
        hours=hours,
        problem=problem,
        by_second=by_second,
    )


def _read_requests(
    con: duckdb.DuckDBPyConnection, observer: str | None, *, fetches: bool
) -> tuple[pl.DataFrame, Sightings | None]:
    """The requests, numbered by shard and time, and what a proxy says of them."""
    asked = pl.DataFrame(
        con.sql(
            "FROM keyed_unauthorized(p_observer := $1, p_fetches := $2) ORDER BY file_id, line_no, ts",
            params=[observer, fetches],
        )
    )
    told = find_sightings(con, asked["source"][0], fetches=fetches) if len(asked) else None
    requests = (
        _named(asked, told)
        .with_columns(
            shard=pl.struct("url", "user_agent").rank("dense").cast(pl.Int32) - 1,
            outcome_no=pl.col("outcome").rank("dense").cast(pl.Int8) - 1,
            second=pl.col("ts").dt.epoch("s"),
        )
        .sort("shard", "second", maintain_order=True)
        .with_row_index("request")
    )
    return requests, told


def hide_keys(candidates: Candidates, which: NDArray[np.bool_]) -> Candidates:
    """The same as if no key named the run of these requests: every candidate could have sent them, alike."""
    basis = pl.when(pl.Series(~which)).then(pl.col("basis"))
    requests, before = candidates.requests.with_columns(basis.alias("basis")), candidates.problem
    edges = _edges(requests, candidates.builds, candidates.by_second)
    factors = {}
    for clue, known in before.edges.factors.items():
        # What other logs know of a request is often what its key rests on.
        factors[clue] = np.ones(len(edges), dtype=np.float32)
        factors[clue][~which[edges.request]] = known[~which[before.edges.request]]
    asked = replace(before.requests, keyed=before.requests.keyed & ~which)
    problem = replace(before, requests=asked, edges=replace(edges, factors=factors))
    return replace(candidates, requests=requests, problem=problem)


def split_by_period(candidates: Candidates, period: pl.Series) -> Candidates:
    """The same where a task is another one in each of its periods, so that what it sends may change.

    Args:
        candidates: requests and builds.
        period: of each build, in the order of `Candidates.builds`.
    """
    builds = candidates.builds.with_columns(
        pl.struct("task", period.alias("period")).rank("dense").cast(pl.Int32).alias("task") - 1,
        before="task",
    )
    before = builds.select("task", "before").unique("task").sort("task")["before"]
    of_tasks = replace(candidates.problem.builds, task=builds["task"].to_numpy(), n_tasks=len(before))
    problem = replace(candidates.problem, builds=of_tasks)
    return replace(candidates, builds=builds.drop("before"), tasks=candidates.tasks[before], problem=problem)


def _named(asked: pl.DataFrame, told: Sightings | None) -> pl.DataFrame:
    """The requests, where they have no key of their own with that of the same request elsewhere."""
    if told is None:
        return asked
    joined = asked.join(
        told.keys, on=["file_id", "line_no"], how="left", suffix="_there", maintain_order="left"
    )
    own = pl.col("basis").is_not_null()
    names = (*RUN, "basis")
    return joined.with_columns(
        pl.when(own).then(name).otherwise(f"{name}_there").alias(name) for name in names
    ).drop(f"{name}_there" for name in names)


def _numbered(
    builds: pl.DataFrame, together: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The builds with the numbers of their runs and tasks, and those."""
    runs = builds.select(RUN).unique().sort(RUN).with_row_index("run")
    each = builds.select(TASK).unique().sort(TASK).with_row_index("place")
    each = each.with_columns(
        task=pl.Series(_groups(each, together)).rank("dense").cast(pl.Int32) - 1, name=workflow_name()
    )
    groups = each.group_by("task", maintain_order=True).agg(names=pl.col("name").unique(maintain_order=True))
    names, more = pl.col("names"), pl.col("names").list.len().cast(pl.Int64) - _NAMED
    text = names.list.head(_NAMED).list.join(" or ") + pl.when(more > 0).then(
        pl.format(" or {} more", more)
    ).otherwise(pl.lit(""))
    groups = groups.select("task", group=pl.when(names.list.len() > 1).then(text))
    each = each.join(groups, on="task", how="left", maintain_order="left")
    numbered = builds.join(runs, on=RUN, how="left", nulls_equal=True)
    numbered = numbered.join(each.select(*TASK, "task", "group"), on=TASK, how="left", nulls_equal=True)
    tasks = each.unique("task", keep="first", maintain_order=True).sort("task")
    tasks = tasks.select(*TASK, name=pl.coalesce("group", "name"))
    return numbered.sort("build_id").with_columns(pl.col("run").cast(pl.Int32)), runs.drop("run"), tasks


def _groups(each: pl.DataFrame, together: pl.DataFrame) -> NDArray[np.int32]:
    """For each task the number of its group: those that some chain of always starting together connects."""
    other = tuple(f"other_{column}" for column in TASK)
    one = together.select(TASK).join(each, on=TASK, how="left", nulls_equal=True, maintain_order="left")
    two = together.select(pl.col(other).name.replace("^other_", "")).join(
        each, on=TASK, how="left", nulls_equal=True, maintain_order="left"
    )
    links = np.ones(len(one)), (one["place"].to_numpy(), two["place"].to_numpy())
    return connected_components(coo_array(links, shape=(len(each), len(each))), directed=False)[1]


def _edges(requests: pl.DataFrame, builds: pl.DataFrame, by_second: Mapping[str, NDArray[Any]]) -> Edges:
    """Request, build and lag of each edge: the candidates of a second are those of each of its requests.

    A request that a key names the run of has edges to that run's builds only.
    """
    seconds = by_second["second"]
    asked = requests["second"].fill_null(-1).to_numpy()
    first, past = np.searchsorted(seconds, asked), np.searchsorted(seconds, asked, side="right")
    count = past - first
    request = np.repeat(np.arange(len(asked), dtype=np.int32), count)
    begins = np.cumsum(count) - count
    place = np.arange(len(request)) - np.repeat(begins - first, count)
    build = by_second["build_id"][place]
    lag = by_second["after_start_s"][place]
    named = pl.coalesce("run_id", pl.concat_str("ci_repo", pl.col("workflow").fill_null(""), separator="\0"))
    of_builds = builds.select(key=named)
    of_requests = requests.select(key=pl.when(pl.col("basis").is_not_null()).then(named))
    keys = pl.concat([of_builds, of_requests])["key"].rank("dense").fill_null(0).to_numpy()
    wanted = keys[len(builds) :][request]
    fits = (wanted == 0) | (wanted == keys[: len(builds)][build])
    edges = Edges(request, build, lag, factors={})
    return edges if fits.all() else edges.only(fits)


def _recorded(hours: pl.DataFrame) -> tuple[Ints, NDArray[np.float64]]:
    """The recorded hours, as hours since 1970, and the seconds recorded in each: all but at either end."""
    number = hours["hour"].dt.epoch("s").to_numpy() // _HOUR
    seconds = np.full(len(number), float(_HOUR))
    if len(number):
        seconds[0] -= hours["first_ts"].dt.epoch("s")[0] % _HOUR
        seconds[-1] -= _HOUR - 1 - hours["last_ts"].dt.epoch("s")[-1] % _HOUR
    return number, np.maximum(seconds, _SHORTEST)


def _exposure(builds: pl.DataFrame, hours: pl.DataFrame, offset_s: float) -> NDArray[np.float64]:
    """1 for a build that started while requests were recorded, else 0: what it sent may not have been."""
    if hours.is_empty():
        return np.zeros(len(builds))
    started = pl.col("ts") + pl.duration(milliseconds=int(offset_s * 1000))
    return (
        builds.select(
            started.dt.truncate("1h").is_in(hours["hour"].implode())
            & started.is_between(hours["first_ts"].min(), hours["last_ts"].max())
        )
        .to_series()
        .to_numpy()
        .astype(float)
    )


def _life(builds: pl.DataFrame, build_window_s: int, offset_s: float) -> NDArray[np.int32]:
    """How long after its start a build is a candidate, as in `views/builds/build_candidates.sql`."""
    start, end = pl.col("ts").dt.epoch("s"), pl.col("to_ts").dt.epoch("s")
    rounded = math.ceil(offset_s) - math.floor(offset_s)
    known = (end - start + rounded).fill_null(build_window_s).clip(0, build_window_s)
    return builds.select(known.cast(pl.Int32)).to_series().to_numpy()
