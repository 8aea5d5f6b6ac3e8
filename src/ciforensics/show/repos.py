"""Which repositories' rows a notebook shows."""

from __future__ import annotations

import polars as pl


def keep_repos(frame: pl.DataFrame, repos: str, /) -> pl.DataFrame:
    """Keeps the rows of some CI repositories, to show; what an answer rests on is never narrowed.

    In SQL it is `is_chosen`.

    Args:
        frame: with a column `ci_repo`; `a or b` is who cannot be told apart.
        repos: repositories, with commas between; empty: all.

    Example:
        >>> frame = pl.DataFrame({"ci_repo": ["acme/web", "acme/infra", None], "n": [1, 2, 3]})
        >>> keep_repos(frame, "acme/web, acme/shop").rows()
        [('acme/web', 1)]
    """
    wanted = [repo for repo in repos.lower().replace(" ", "").split(",") if repo]
    if not wanted:
        return frame
    return frame.filter(
        pl.col("ci_repo")
        .str.to_lowercase()
        .str.split(" or ")
        .list.eval(pl.element().is_in(wanted))
        .list.any()
    )
