"""What remains: the 401s that the mirror can still remove, who sends them, and how long that may take.

What can be removed are the challenges of git in images. Outside the ceiling are other programs, which have
no `proactiveAuth`, and images pinned by digest or of another registry, which the mirror cannot replace;
refusals need a credential, not an image.

The forecast looks at the work, not at the weather of traffic: a workflow's challenges a day at its usual
number of builds, as of each day's state. They change only when a workflow moves or falls back. The days'
changes are drawn with replacement, in blocks of a week as people work by the week (Künsch 1989), until
nothing is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ciforensics.analysis.attribution.fetches import CLASSES, GOLDEN
from ciforensics.analysis.migration.states import PINNED, SILENT, find_stretches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ciforensics.analysis.attribution.fetches import Fetches
    from ciforensics.analysis.migration.states import Paths

    Floats = NDArray[np.float64]

REMOVABLE, NOBODY = "the mirror can remove", "of no known build"
ELSEWHERE, OTHER_PROGRAMS = "image of another registry", "other programs"
FEWEST_DAYS = 14
"""Whole days without which a rate says nothing: two weeks."""

_WEEK = 7
_RECENT = 56  # days that the rate is taken from
_HORIZON = 1095  # days; beyond it is "not at this rate"
_LEFT = 0.05  # of today's challenges: a few stragglers are no reason to wait for ever
_DAY_S = 86_400
_P = pl.col("probability")


def count_burn_down(fetches: Fetches, states: pl.DataFrame, bucket_us: int) -> pl.DataFrame:
    """Challenges by `bucket` and `reach`, see `Progress.burn_down`."""
    challenges = fetches.asked.filter(pl.col("outcome") == "challenge", pl.col("ts").is_not_null())
    workflows = fetches.builds.select("build", "name").join(
        states.select("name", "state", "within_reach"), on="name"
    )
    known = challenges.join(fetches.sent, on="request").join(workflows, on="build")
    reach = (
        pl.when(pl.col("state") == PINNED)
        .then(pl.lit(PINNED))
        .when("within_reach")
        .then(pl.lit(REMOVABLE))
        .otherwise(pl.lit(ELSEWHERE))
    )
    known = known.select("request", "ts", "class", reach.alias("reach"), "probability")
    named = known.group_by("request").agg(_P.sum())
    rest = challenges.join(named, on="request", how="left").select(
        "request", "ts", "class", pl.lit(NOBODY).alias("reach"), (1 - _P.fill_null(0)).alias("probability")
    )
    other = pl.when(pl.col("class").is_in(CLASSES)).then("reach").otherwise(pl.lit(OTHER_PROGRAMS))
    begin = pl.from_epoch(pl.col("ts").dt.epoch("us") // bucket_us * bucket_us, time_unit="us")
    rows = pl.concat([known, rest]).with_columns(bucket=begin, reach=other)
    counted = rows.group_by("bucket", "reach").agg(challenges=_P.sum().clip(lower_bound=0))
    return counted.with_columns(bucket_end=pl.col("bucket") + pl.duration(microseconds=bucket_us)).sort(
        "bucket", "reach"
    )


def measure_rates(fetches: Fetches, paths: Paths, days: float) -> pl.DataFrame:
    """Each stretch of a workflow's state: removable `challenges` a build, and its `builds_per_day`."""
    sent = fetches.by_class.filter(pl.col("outcome") == "challenge", pl.col("class").is_in(CLASSES))
    by_build = sent.group_by("build").agg(challenges=_P.sum())
    builds = paths.builds.join(by_build, on="build", how="left").with_columns(
        pl.col("challenges").fill_null(0)
    )
    builds = builds.sort("name", "ts", "build").with_columns(nth=pl.col("state").rle_id().over("name"))
    each = builds.group_by("name", "nth").agg(pl.col("challenges").mean())
    per_day = builds.group_by("name").agg(builds_per_day=pl.len() / days)
    return find_stretches(paths).join(each, on=["name", "nth"]).join(per_day, on="name").sort("name", "nth")


def find_holdouts(rated: pl.DataFrame, states: pl.DataFrame) -> pl.DataFrame:
    """Who still sends challenges, most first, see `Progress.holdouts`."""
    last = rated.group_by("name", maintain_order=True).last()
    senders = last.select("name", challenges=pl.col("challenges") * pl.col("builds_per_day")).join(
        states, on="name"
    )
    left = senders.filter(~pl.col("state").is_in([GOLDEN, SILENT]), pl.col("challenges") > _LEFT)
    columns = ("name", "ci_repo", "workflow", "state", "challenges", "within_reach", "last_golden", "builds")
    return left.select(columns).sort(pl.col("challenges").round(6), "name", descending=[True, False])


def project_remaining(rated: pl.DataFrame, states: pl.DataFrame, days: int) -> Floats:
    """Removable challenges a day as of the end of each day, at every workflow's usual number of builds."""
    total, first = np.zeros(days if len(rated) else 0), rated["from_ts"].min()
    within = states.filter("within_reach").select("name")
    mine = rated.join(within, on="name", how="semi").sort("name", "nth")
    for _, workflow in mine.group_by("name", maintain_order=True):
        begins = (
            workflow.select(pl.col("from_ts") - first).to_series().dt.total_microseconds().to_numpy()
            / 1e6
            / _DAY_S
        )
        level = (workflow["challenges"] * workflow["builds_per_day"]).to_numpy()
        place = np.searchsorted(begins, np.arange(1, days + 1), side="right") - 1
        total += level[place.clip(0)]  # before its first build it was what it was then
    return total


def forecast_end(
    left: Floats, *, days: int, replicates: int = 2000, level: float = 0.9, seed: int = 0
) -> pl.DataFrame:
    """In how many days nothing much is left, as a range, see `Progress.forecast`.

    Args:
        left: removable challenges a day, as of the end of each day.
        days: how many whole days were recorded.
        replicates: how many futures are drawn.
        level: share of the futures that the range holds.
        seed: the same seed draws the same futures.
    """
    recent = np.diff(left[-_RECENT - 1 :])
    now = float(left[-1]) if len(left) else 0.0
    low = high = None
    why = _cannot_tell(left, now, days)
    if why is None:
        rng = np.random.default_rng(seed)
        weeks = -(-_HORIZON // _WEEK)
        # A circle, so that each day is drawn as often as any other.
        begins = rng.integers(0, len(recent), (replicates, weeks))
        place = (begins[:, :, None] + np.arange(_WEEK)).reshape(replicates, -1) % len(recent)
        done = now + recent[place].cumsum(axis=1) <= _LEFT * now
        ends = np.where(done.any(axis=1), done.argmax(axis=1) + 1, np.inf)
        low, high = (
            float(np.quantile(ends, at, method="nearest")) for at in ((1 - level) / 2, (1 + level) / 2)
        )
        if not np.isfinite(low):
            why = "at the recent rate it does not end within three years"
    return pl.DataFrame(
        {
            "remaining": now,
            "change": float(recent.mean()) if len(recent) else None,
            "days_seen": days,
            "low": low if low is not None and np.isfinite(low) else None,
            "high": high if high is not None and np.isfinite(high) else None,
            "why": why,
        },
        schema={
            "remaining": pl.Float64,
            "change": pl.Float64,
            "days_seen": pl.Int64,
            "low": pl.Float64,
            "high": pl.Float64,
            "why": pl.String,
        },
    )


def _cannot_tell(left: Floats, now: float, days: int) -> str | None:
    if not len(left):
        return "no known build sends git requests"
    if now <= _LEFT:
        return "nothing is left that the mirror could remove"
    if days < FEWEST_DAYS:
        return f"requests were recorded for {days} whole days, and {FEWEST_DAYS} are needed"
    if not np.diff(left[-_RECENT - 1 :]).any():
        return "no workflow moved lately, so there is no rate"
    return None
