"""How far a migration to golden images is, whether it works, and what remains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from ciforensics.analysis.answer import attribute
from ciforensics.analysis.attribution.fetches import Fetches
from ciforensics.analysis.migration.effect import estimate_effect
from ciforensics.analysis.migration.rest import (
    count_burn_down,
    find_holdouts,
    forecast_end,
    measure_rates,
    project_remaining,
)
from ciforensics.analysis.migration.shares import count_denominators, find_golden, put_side_by_side
from ciforensics.analysis.migration.states import (
    PINNED,
    Paths,
    find_regressions,
    find_states,
    find_stretches,
)
from ciforensics.case import accepts_path
from ciforensics.wording import Result, Sentence, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from ciforensics.analysis.answer import Attribution
    from ciforensics.analysis.migration.effect import Effect

_DAY_S = 86_400


@dataclass(frozen=True, eq=False, repr=False)
class Progress(Result):
    """How far the migration is, by workflow, and what it did.

    A **fetch** is what git begins with: a 401, or the first request of a clone, fetch or push that got none.

    Attributes:
        attribution: who sent the fetches; workflows may change what they send.
        denominators: for each `denominator` (requests, builds, CI repos) and `class` or state `count`,
            `share`, and, of a sample, an interval of the share (`low`, `high`). Requests of
            actions/checkout, which are of no image, are left out. Builds are those that are known, in parts
            where they send several classes.
        golden: of each denominator the golden `count`, `share` and interval; NULL where it cannot be told.
        states: one row a workflow (`name`, `ci_repo`, `workflow`): its `state`, `since` when,
            `fetches_since` then, how probable it is (`probability`), `last_stock` and `last_golden` (the
            last build of such a state), its `builds`, fetches by class (`stock`, `golden`, `too_old`),
            `exact_share` (of its fetches, by a shared key), and of its known base `images` how many are
            `pinned` by digest or come from `elsewhere`, another registry: `within_reach` of the mirror or
            not.
        stretches: of the workflows whose state changed each `state`, `from_ts` when, and `to_ts`.
        regressions: one row for each time that a golden workflow was no longer golden: `golden_from`,
            `fell_back`, `to` which state, `builds_since`, and the `state_now`.
        burn_down: challenges by `bucket` and `reach`: whether the mirror can remove them.
        holdouts: workflows that send `challenges` (a day, at their usual number of builds), most first;
            `within_reach` of the mirror or not.
        forecast: one row: challenges a day that `remaining` workflows within reach send, their mean
            `change` a day, and in how many days 95 % of them are gone (`low`, `high`; `high` NULL: perhaps
            never), or `why` that cannot be told.
        comparison: of repositories that moved with those that did not: `effect`, `moves` and `event_time`.
    """

    attribution: Attribution
    denominators: pl.DataFrame
    golden: pl.DataFrame
    states: pl.DataFrame
    stretches: pl.DataFrame
    regressions: pl.DataFrame
    burn_down: pl.DataFrame
    holdouts: pl.DataFrame
    forecast: pl.DataFrame
    comparison: Effect

    def _said(self) -> Iterator[Sentence]:
        counted = self.states["state"].value_counts().sort("count", "state", descending=[True, False])
        each = (f"{count:,} {state}" for state, count in counted.rows())
        yield say("{n} workflows: {each}.", n=len(self.states), each="; ".join(each) or "none is known")
        yield self.verdict
        yield self.outlook

    @property
    def side_by_side(self) -> pl.DataFrame:
        """The denominators as columns: a row for each class or state, a count and a share for each."""
        return put_side_by_side(self.denominators)

    @property
    def pinned(self) -> pl.DataFrame:
        """One row: how many workflows are `pinned` by digest, and the `challenges` a day that they send."""
        of = self.holdouts.filter(pl.col("state") == PINNED)
        return pl.DataFrame(
            {
                "pinned": (self.states["state"] == PINNED).sum() if len(self.states) else None,
                "challenges": float(of["challenges"].sum()),
            },
            schema={"pinned": pl.Int64, "challenges": pl.Float64},
        )

    @property
    def effect(self) -> pl.DataFrame:
        """One row: how many more 401s a build sends since its workflow moved (`effect`, `low`, `high`).

        `without`: what it would have sent, by the repositories that had not moved; `after`: what it sent;
        `removed`: the share that went. It rests on `builds` of `moved` repositories and on `not_moved` ones.
        `why`: where there is no interval, the reason.
        """
        return self.comparison.total

    @property
    def moves(self) -> pl.DataFrame:
        """Of each workflow that moved, 401s a build `before` and `after`, and `without` the move."""
        return self.comparison.moves

    @property
    def event_time(self) -> pl.DataFrame:
        """401s a build (`unauthorized`) and `without` the move, by periods of `period_s` since it."""
        return self.comparison.over_time

    @property
    def verdict(self) -> Sentence:
        """Whether moving works, in a sentence."""
        if self.effect["why"].is_null().all():
            return say(
                "A build of a moved workflow sends {after:,.2f} 401s; had it not moved, it would be "
                "{without:,.2f}: a change of {effect:+,.2f} ({low:+,.2f} to {high:+,.2f}, 90 %), over "
                "{moved} repositories that moved and {not_moved} that did not.",
                self.effect,
            )
        why = "This case cannot tell how large the effect is in general: {why}."
        return say(why, why=self.effect["why"][0])

    @property
    def outlook(self) -> Sentence:
        """How long it may take, in a sentence."""
        row = self.forecast.row(0, named=True)
        if row["why"]:
            return say("How long the rest may take cannot be told: {why}.", why=row["why"])
        text = "Of {remaining:,.0f} challenges a day within reach of the mirror, 95 % are gone "
        if row["high"] is None:
            return say(
                text + "after {low:,.0f} days at the earliest, at the recent rate perhaps never.", **row
            )
        return say(text + "in {low:,.0f} to {high:,.0f} days, at the recent rate.", **row)


@accepts_path
def measure_progress(
    con: duckdb.DuckDBPyConnection,
    *,
    observer: str | None = None,
    build_window_s: float = 320,
    sample: bool = False,
    draws: int = 20,
    seed: int = 0,
) -> Progress:
    """Says how far the migration to golden images is, by workflow, and what it did.

    Args:
        con: a connection to a case, or its path.
        observer: whose requests are counted, e.g. `mitmproxy`; GitHub's own log if the case has it.
        build_window_s: a build is a candidate for what came within so many seconds of its start.
        sample: the log is a sample of the requests, so that shares have an interval; else it is complete.
        draws: how often the senders are drawn from their probabilities, for the effect's interval.
        seed: the same seed draws the same.

    Example:
        >>> import ciforensics as ci
        >>> progress = measure_progress(ci.connect())
        >>> progress.regressions["ci_repo"].to_list()
        ['acme/billing']
    """
    attribution = attribute(con, build_window_s=build_window_s, observer=observer, fetches=True)
    fetches = Fetches.of(attribution.candidates, attribution.fit)
    paths = Paths.of(fetches)
    now = find_states(fetches, paths, pl.DataFrame(con.sql("FROM pinned_images")))
    requests = pl.DataFrame(
        con.sql(
            "SELECT class, requests, unauthorized FROM git_class_totals(p_observer := $1)", params=[observer]
        )
    )
    bucket = con.sql("FROM observer_bucket(p_observer := $1)", params=[observer]).fetchall()
    rated = measure_rates(fetches, paths, max(attribution.candidates.problem.seconds, 1) / _DAY_S)
    days = _whole_days(con, observer)
    left = project_remaining(rated, now, max(1, days))
    denominators = count_denominators(requests, fetches, paths, now, sample=sample, seed=seed)
    each = find_stretches(paths)
    return Progress(
        attribution=attribution,
        denominators=denominators,
        golden=find_golden(denominators, requests),
        states=now,
        stretches=each.filter(pl.len().over("name") > 1),
        regressions=find_regressions(paths),
        burn_down=count_burn_down(fetches, now, bucket[0][0] if bucket else _DAY_S * 1_000_000),
        holdouts=find_holdouts(rated, now),
        forecast=forecast_end(left, days=days, seed=seed),
        comparison=estimate_effect(fetches, paths, draws=draws, level=0.9, seed=seed),
    )


def _whole_days(con: duckdb.DuckDBPyConnection, observer: str | None) -> int:
    """From the first request to the last; an hour without any is a part of its day all the same."""
    (days,) = con.sql(
        "SELECT coalesce(date_diff('second', min(first_ts), max(last_ts)), 0) // $2"
        " FROM observed_hours(p_observer := $1)",
        params=[observer, _DAY_S],
    ).fetchall()[0]
    return int(days)
