"""Which workflow sent the 401s: requests in, candidates with probabilities out.

The model is the simplest that is honest about itself: exact where evidence shares a key, else an equal share
for each docker build in the window before the request, else unattributed. It is SQL
(`views/attributed_requests.sql`); a better one may replace what is behind `attribute`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from ciforensics.errors import CiforensicsError

if TYPE_CHECKING:
    import duckdb

_EXACT = ("orchestration id", "address")
_NAME = (
    pl.when(pl.col("ci_repo").is_null() & pl.col("workflow").is_null())
    .then(pl.lit("unattributed"))
    .otherwise(pl.concat_str("ci_repo", "workflow", separator=" · ", ignore_nulls=True))
    .alias("name")
)


@dataclass(frozen=True)
class Attribution:
    """Who sent the 401s, as far as the evidence says.

    Each answer is asked for when it is first looked at: keep the connection open.

    Attributes:
        window_s: a docker build is a candidate for what came within so many seconds of its start.
        observer: whose requests are counted.
    """

    window_s: float
    observer: str | None
    _con: duckdb.DuckDBPyConnection = field(repr=False)

    def _ask(self, question: str, columns: str = "*", rest: str = "") -> pl.DataFrame:
        sql = f"SELECT {columns} FROM {question}(p_window_s := $1, p_observer := $2) {rest}"
        return pl.DataFrame(self._con.sql(sql, params=[self.window_s, self.observer]))

    @cached_property
    def workflows(self) -> pl.DataFrame:
        """For each `ci_repo` and `workflow`, most first, the expected number of its 401s (`requests`).

        Of these `challenges` and `refused`; `share` of all 401s; `exact_share`, how much of its number rests
        on a shared key; `runs`, the runs that could have sent any. Where `ci_repo` is NULL: nothing known.
        """
        return self._ask("attributed_workflows")

    @cached_property
    def requests(self) -> pl.DataFrame:
        """A row for each 401 and candidate, with `probability` and `basis`; a 401's probabilities sum to 1.

        `basis` is `orchestration id`, `address`, `build window` or `unattributed`. A busy day has many
        candidates for each of many requests: nothing else here needs this frame.
        """
        order = "ORDER BY file_id, line_no, ts, probability DESC, ci_repo, workflow, job, run_id"
        return self._ask("attributed_requests", rest=order)

    @cached_property
    def by_basis(self) -> pl.DataFrame:
        """How many 401s the answer rests on which `basis` for, as a number (`requests`) and a `share`."""
        found = self._runs.group_by("basis").agg(pl.col("requests").sum().round(6))
        return found.with_columns(share=pl.col("requests") / pl.col("requests").sum()).sort(
            "requests", "basis", descending=[True, False]
        )

    @cached_property
    def by_outcome(self) -> pl.DataFrame:
        """Expected 401s (`requests`) by `name`, repository and workflow in one, and `outcome`."""
        return (
            self._runs.group_by(_NAME, "outcome")
            .agg(pl.col("requests").sum().round(6))
            .sort("name", "outcome")
        )

    @cached_property
    def competition(self) -> pl.DataFrame:
        """How many 401s without a key (`requests`, `share`) have how many candidate `workflows`."""
        return self._ask("attribution_competition")

    @cached_property
    def summary(self) -> pl.DataFrame:
        """One row: the first workflow (`name`, `requests`), and all 401s (`total`).

        `exact` and `unattributed` are the parts of all 401s on such a basis.
        """
        named = self._runs.filter(pl.col("ci_repo").is_not_null() | pl.col("workflow").is_not_null())
        ranked = named.group_by(_NAME).agg(pl.col("requests").sum().round(6))
        first = ranked.sort("requests", "name", descending=[True, False])
        name, most = next(first.iter_rows(), (None, None))
        requests, basis = pl.col("requests"), pl.col("basis")
        return self._runs.select(
            name=pl.lit(name, pl.String),
            requests=pl.lit(most, pl.Float64),
            total=requests.sum().round().cast(pl.Int64),
            exact=requests.filter(basis.is_in(_EXACT)).sum() / requests.sum(),
            unattributed=requests.filter(basis == "unattributed").sum() / requests.sum(),
        ).with_columns(pl.col("exact", "unattributed").fill_nan(None))

    def most_certain(self, n: int = 10) -> pl.DataFrame:
        """The `n` candidates with the highest probability: file and line of the request, and the run."""
        request = "parse_filename(path) AS file, line_no, ts, url, outcome"
        named = "basis <> 'unattributed'"
        order = "probability DESC, file, line_no, ts, ci_repo, workflow, job, run_id"
        return self._ask(
            "attributed_requests",
            f"{request}, ci_repo, workflow, job, run_id, probability, basis",
            f"WHERE {named} ORDER BY {order} LIMIT {int(n)}",
        )

    @cached_property
    def _runs(self) -> pl.DataFrame:
        return self._ask("attributed_runs", rest="ORDER BY ALL")


def attribute(
    con: duckdb.DuckDBPyConnection, *, window_s: float = 300, observer: str | None = None
) -> Attribution:
    """Names the workflows that could have sent each 401, and how probable each is.

    Args:
        con: a connection to a case.
        window_s: a docker build is a candidate for what came within so many seconds of its start.
        observer: whose requests are counted, e.g. `mitmproxy`; GitHub's own log if the case has it.

    Returns:
        The candidates, by request and by workflow.

    Raises:
        CiforensicsError: the case has no requests of that observer, or the window is not above zero.

    Example:
        >>> import ciforensics as ci
        >>> found = attribute(ci.connect(), window_s=300)
        >>> round(found.workflows["share"].sum(), 6)
        1.0
    """
    if not window_s > 0:
        raise CiforensicsError(
            f"A window of {window_s} s holds no build.", hint="give window_s above 0, e.g. 300."
        )
    known = [
        name for (name,) in con.execute("SELECT DISTINCT source FROM file_status ORDER BY source").fetchall()
    ]
    if observer is not None and observer not in known:
        raise CiforensicsError(
            f"The case has no requests seen by {observer!r}.",
            hint=f"observers in it: {', '.join(known) or 'none'}.",
        )
    return Attribution(float(window_s), observer, con)
