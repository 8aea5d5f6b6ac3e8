"""How far the migration is, by three counts: requests, builds, CI repositories.

Requests are counted, exactly: a complete export needs no interval. Of a sample of the requests, the shares
have one: what a build sends came together, so builds are drawn with replacement, each with all its fetches
(a fetch that nobody is known to have sent by itself), and requests follow their fetch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ciforensics.analysis.attribution.fetches import CLASSES, GOLDEN, OTHERS
from ciforensics.analysis.migration.states import MIXED, SILENT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ciforensics.analysis.attribution.fetches import Fetches
    from ciforensics.analysis.migration.states import Paths

    Floats = NDArray[np.float64]

REQUESTS, BUILDS, REPOS = "requests", "builds", "CI repos"
CHECKOUT = "checkout"
_REPLICATES = 400


def count_denominators(
    requests: pl.DataFrame, fetches: Fetches, paths: Paths, states: pl.DataFrame, *, sample: bool, seed: int
) -> pl.DataFrame:
    """The three, one below the other, see `Progress.denominators`.

    Args:
        requests: git requests by `class`.
        fetches: who sent what.
        paths: the states of the builds.
        states: of each workflow.
        sample: the log holds a part of the requests only.
        seed: the same seed draws the same builds.
    """
    by_build = _by_build(paths)
    builds = pl.DataFrame({"class": (*CLASSES, OTHERS, SILENT), "count": by_build.sum(axis=0)})
    in_images = requests.filter(pl.col("class") != CHECKOUT).select(
        "class", pl.col("requests").alias("count")
    )
    of = {
        REQUESTS: in_images,
        BUILDS: builds,
        REPOS: judge_repos(states).group_by(pl.col("state").alias("class")).agg(count=pl.len()),
    }
    rows = pl.concat(
        counted.select(
            pl.lit(name).alias("denominator"),
            "class",
            pl.col("count").cast(pl.Float64),
            share=pl.col("count") / pl.col("count").sum(),
        )
        .filter(pl.col("count") > 0)
        .sort("count", "class", descending=[True, False])
        for name, counted in of.items()
    )
    bounds = (
        _bounds(fetches, in_images.rename({"count": "requests"}), by_build, seed) if sample else _NO_BOUNDS
    )
    return rows.join(bounds, on=["denominator", "class"], how="left", maintain_order="left")


def find_golden(rows: pl.DataFrame, requests: pl.DataFrame) -> pl.DataFrame:
    """The golden share by each denominator; NULL among 401s alone, where golden images do not show."""
    tells = (requests["requests"] > requests["unauthorized"]).any()
    wanted = pl.DataFrame({"denominator": [REQUESTS, BUILDS, REPOS]})
    seen = wanted.join(rows.select("denominator").unique(), on="denominator", how="semi")["denominator"]
    golden = wanted.join(
        rows.filter(pl.col("class") == GOLDEN), on="denominator", how="left", maintain_order="left"
    )
    known = pl.col("denominator").is_in(seen.implode()) & pl.lit(value=bool(tells))
    return golden.select(
        "denominator",
        pl.when(known).then(pl.col("count", "share").fill_null(0)),
        "low",
        "high",
    )


def put_side_by_side(rows: pl.DataFrame) -> pl.DataFrame:
    """The denominators as columns, a row a class."""
    table = rows.select("class").unique()
    for name, column in ((REQUESTS, "requests"), (BUILDS, "builds"), (REPOS, "repos")):
        mine = rows.filter(pl.col("denominator") == name)
        counted = mine.select(
            "class", pl.col("count").alias(column), pl.col("share").alias(f"{column}_share")
        )
        table = table.join(counted, on="class", how="left")
    columns = ("requests", "builds", "repos")
    return table.sort(*columns, "class", descending=[True] * 3 + [False], nulls_last=True)


def judge_repos(states: pl.DataFrame) -> pl.DataFrame:
    """The state of each CI repository: its workflows', mixed where those that fetch anything differ."""
    heard = pl.col("state").filter(pl.col("state") != SILENT).unique()
    state = pl.when(heard.len() == 0).then(pl.lit(SILENT)).when(heard.len() == 1).then(heard.first())
    return states.group_by("ci_repo").agg(state=state.otherwise(pl.lit(MIXED))).sort("ci_repo")


def _by_build(paths: Paths) -> Floats:
    """What each build is, in parts that sum to 1: of each class, other programs alone, silent."""
    counts = paths.builds.select(CLASSES).to_numpy()
    total = counts.sum(axis=1, keepdims=True)
    parts = counts / np.maximum(total, 1)
    left = 1 - parts.sum(axis=1, keepdims=True)
    others = np.minimum(left, paths.builds.select("others").to_numpy())
    return np.hstack([parts, others, left - others])


_NO_BOUNDS = pl.DataFrame(
    schema={"denominator": pl.String, "class": pl.String, "low": pl.Float64, "high": pl.Float64}
)


def _bounds(
    fetches: Fetches, requests: pl.DataFrame, by_build: Floats, seed: int, level: float = 0.9
) -> pl.DataFrame:
    """Of the shares of requests and builds; repositories are in a state or not."""
    rng = np.random.default_rng(seed)
    rows = _clusters(fetches, requests)
    classes = sorted(set(rows["class"].drop_nulls()))
    sums = rows.group_by("cluster").agg(
        pl.col("weight").filter(pl.col("class") == name).sum().alias(name) for name in classes
    )
    of = (
        (REQUESTS, classes, sums.sort("cluster").drop("cluster").to_numpy()),
        (BUILDS, [*CLASSES, OTHERS, SILENT], by_build),
    )
    parts = []
    for denominator, names, each in of:
        if not len(each):
            continue
        drawn = rng.multinomial(len(each), np.full(len(each), 1 / len(each)), _REPLICATES) @ each
        share = drawn / np.maximum(drawn.sum(axis=1, keepdims=True), 1e-300)
        low, high = np.quantile(share, [(1 - level) / 2, (1 + level) / 2], axis=0)
        parts.append(
            pl.DataFrame({"denominator": denominator, "class": names, "low": low, "high": high}, strict=False)
        )
    return pl.concat([_NO_BOUNDS, *(part.with_columns(pl.col("class").cast(pl.String)) for part in parts)])


def _clusters(fetches: Fetches, requests: pl.DataFrame) -> pl.DataFrame:
    """For each fetch its class, the `cluster` it is drawn with, its `weight`: requests it stands for."""
    likeliest = fetches.sent.sort("request", "probability", descending=[False, True]).unique(
        "request", keep="first"
    )
    joined = fetches.asked.join(likeliest, on="request", how="left")
    sure = pl.col("probability") > 0.5
    cluster = (
        pl.when(sure).then(pl.col("build").cast(pl.Int64)).otherwise(-1 - pl.col("request").cast(pl.Int64))
    )
    weights = requests.select("class", weight="requests").join(
        fetches.asked.group_by("class").agg(fetches=pl.len()), on="class"
    )
    return joined.join(weights.select("class", pl.col("weight") / pl.col("fetches")), on="class").select(
        "class", "weight", cluster=cluster
    )
