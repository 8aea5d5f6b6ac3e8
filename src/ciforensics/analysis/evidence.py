"""What a case knows of its 401s and builds, as the numbers that the model takes.

SQL decides which builds are candidates (`views/build_candidates.sql`) and which requests a key names the run of
(`views/exact_keys.sql`); here texts become numbers, and seconds become edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ciforensics.analysis.delays import Bins
from ciforensics.analysis.steps import Problem

if TYPE_CHECKING:
    import duckdb
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Edge = NDArray[np.int32]

TASK = ("ci_repo", "workflow", "job")
RUN = (*TASK, "run_id")
_HOUR = 3600
_SHORTEST = 60.0  # of an hour's seconds: a log of one second would make every rate look huge


@dataclass(frozen=True, eq=False)
class Evidence:
    """401s, builds, and the problem that they make.

    Attributes:
        requests: a row for each 401, in the problem's order: its place and content, and where a key names its
            run `basis` and the run.
        builds: a row for each build, with its `run` and its `task` as numbers.
        runs: `ci_repo`, `workflow`, `job` and `run_id` of each run, in the order of its numbers.
        tasks: `ci_repo`, `workflow` and `job` of each task, in the order of its numbers.
        hours: the start of each recorded hour, in hours since 1970.
        problem: the same in numbers.
    """

    requests: pl.DataFrame
    builds: pl.DataFrame
    runs: pl.DataFrame
    tasks: pl.DataFrame
    hours: Ints
    problem: Problem


def gather(
    con: duckdb.DuckDBPyConnection, *, window_s: int, offset_s: float, observer: str | None
) -> Evidence:
    """Reads a case.

    Args:
        con: a connection to a case.
        window_s: a build is a candidate for so many seconds after its start.
        offset_s: by how much the observer's clock is ahead of the builds'.
        observer: whose requests are counted.
    """
    asked = pl.DataFrame(
        con.sql("FROM keyed_unauthorized(p_observer := $1) ORDER BY file_id, line_no, ts", params=[observer])
    )
    requests = (
        asked.with_columns(
            shard=pl.struct("url", "user_agent").rank("dense").cast(pl.Int32) - 1,
            outcome_no=pl.col("outcome").rank("dense").cast(pl.Int8) - 1,
            second=pl.col("ts").dt.epoch("s"),
        )
        .sort("shard", "second", maintain_order=True)
        .with_row_index("request")
    )
    builds, runs, tasks = _numbered(pl.DataFrame(con.sql("FROM builds ORDER BY build_id")))
    candidates = pl.DataFrame(
        con.sql(
            "FROM build_candidates(p_window_s := $1, p_offset_s := $2, p_observer := $3) "
            "ORDER BY second, build_id",
            params=[window_s, offset_s, observer],
        )
    )
    request, build, lag = _edges(requests, builds, candidates)
    recorded = pl.DataFrame(con.sql("FROM observed_hours(p_observer := $1)", params=[observer]))
    hours, seconds = _recorded(recorded)
    hour = np.searchsorted(hours, requests["second"].fill_null(0).to_numpy() // _HOUR)
    problem = Problem(
        shard=requests["shard"].to_numpy(),
        outcome=requests["outcome_no"].to_numpy(),
        hour=hour.clip(0, max(0, len(hours) - 1)).astype(np.int32),
        pinned=requests["basis"].is_not_null().to_numpy(),
        weight=requests["second"].is_not_null().to_numpy().astype(float),
        edge_request=request,
        edge_build=build,
        edge_lag=lag,
        edge_factor=np.zeros(0, dtype=np.float32),
        task=builds["task"].to_numpy(),
        exposure=_exposure(builds, recorded, offset_s),
        hours=seconds,
        n_shards=requests["shard"].n_unique(),
        n_outcomes=requests["outcome_no"].n_unique(),
        n_tasks=len(tasks),
        bins=Bins.up_to(window_s),
    )
    return Evidence(requests, builds, runs, tasks, hours, problem)


def _numbered(builds: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The builds with the numbers of their runs and tasks, and those."""
    runs = builds.select(RUN).unique().sort(RUN).with_row_index("run")
    tasks = builds.select(TASK).unique().sort(TASK).with_row_index("task")
    numbered = builds.join(runs, on=RUN, how="left", nulls_equal=True)
    numbered = numbered.join(tasks, on=TASK, how="left", nulls_equal=True).sort("build_id")
    return numbered.with_columns(pl.col("run", "task").cast(pl.Int32)), runs.drop("run"), tasks.drop("task")


def _edges(requests: pl.DataFrame, builds: pl.DataFrame, candidates: pl.DataFrame) -> tuple[Edge, Edge, Edge]:
    """Request, build and lag of each edge: the candidates of a second are those of each of its requests.

    A request that a key names the run of has edges to that run's builds only.
    """
    seconds = candidates["second"].to_numpy()
    asked = requests["second"].fill_null(-1).to_numpy()
    first, past = np.searchsorted(seconds, asked), np.searchsorted(seconds, asked, side="right")
    count = past - first
    request = np.repeat(np.arange(len(asked), dtype=np.int32), count)
    begins = np.cumsum(count) - count
    place = np.arange(len(request)) - np.repeat(begins - first, count)
    build = candidates["build_id"].to_numpy().astype(np.int32)[place]
    lag = candidates["lag_s"].to_numpy().astype(np.int32)[place]
    named = pl.coalesce("run_id", pl.concat_str("ci_repo", pl.col("workflow").fill_null(""), separator="\0"))
    of_builds = builds.select(key=named)
    of_requests = requests.select(key=pl.when(pl.col("basis").is_not_null()).then(named))
    keys = pl.concat([of_builds, of_requests])["key"].rank("dense").fill_null(0).to_numpy()
    wanted = keys[len(builds) :][request]
    fits = (wanted == 0) | (wanted == keys[: len(builds)][build])
    return (request, build, lag) if fits.all() else (request[fits], build[fits], lag[fits])


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
