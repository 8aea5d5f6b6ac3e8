"""Which workflow sent the 401s: requests in, candidates with probabilities out.

The model is the simplest that is honest about itself: exact where evidence shares a key, else an equal share for
each docker build in the window before the request, else unattributed. It is SQL (`views/attributed_requests.sql`); a better
one may replace what is behind `attribute`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import duckdb
import polars as pl

from ciforensics.errors import CiforensicsError


@dataclass(frozen=True)
class Attribution:
    """Who sent the 401s, as far as the evidence says.

    Attributes:
        workflows: for each `ci_repo` and `workflow`, most first, the expected number of its 401s (`requests`, of which
            `challenges` and `refused`), its `share` of all 401s, the `exact_share` of its number that rests on a shared
            key, and `runs`, the runs that could have sent any. Where `ci_repo` is NULL: what points nowhere.
    """

    workflows: pl.DataFrame
    _load: Callable[[], pl.DataFrame] = field(repr=False)

    @cached_property
    def requests(self) -> pl.DataFrame:
        """A row for each 401 and candidate, with `probability` and `basis`; a 401's probabilities sum to 1.

        `basis` is `orchestration id`, `address`, `build window` or `unattributed`. Computed when first asked for, while
        the connection is open: a busy day has many candidates for each of many requests.
        """
        return self._load()


def attribute(
    con: duckdb.DuckDBPyConnection, *, window_s: float = 300, observer: str | None = None
) -> Attribution:
    """Names the workflows that could have sent each 401, and how probable each is.

    Args:
        con: a connection to a case.
        window_s: a docker build is a candidate for what came within so many seconds of its start.
        observer: whose requests are counted, e.g. `mitmproxy`; GitHub's own log if the case has it.

    Returns:
        The ranked workflows and, on demand, the requests.

    Raises:
        CiforensicsError: the case has no requests of that observer, or the window is not above zero.

    Example:
        >>> import ciforensics as ci
        >>> found = attribute(ci.connect(), window_s=300)
        >>> round(found.workflows["share"].sum(), 6)
        1.0
    """
    if not window_s > 0:
        raise CiforensicsError(f"A window of {window_s} s holds no build.", hint="give window_s above 0, e.g. 300.")
    known = [name for (name,) in con.execute("SELECT DISTINCT source FROM file_status ORDER BY source").fetchall()]
    if observer is not None and observer not in known:
        raise CiforensicsError(
            f"The case has no requests seen by {observer!r}.", hint=f"observers in it: {', '.join(known) or 'none'}."
        )

    def query(sql: str) -> pl.DataFrame:
        return pl.DataFrame(con.sql(sql, params=[window_s, observer]))

    return Attribution(
        workflows=query("FROM attributed_workflows(p_window_s := $1, p_observer := $2)"),
        _load=lambda: query(
            "FROM attributed_requests(p_window_s := $1, p_observer := $2)"
            " ORDER BY file_id, line_no, probability DESC, ci_repo, workflow, job, run_id"
        ),
    )
