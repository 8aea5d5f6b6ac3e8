"""What runs and workflows are called."""

from __future__ import annotations

import polars as pl

from ciforensics.analysis.links.basis import Basis

TASK = ("ci_repo", "workflow", "job")
RUN = (*TASK, "run_id")


def workflow_name() -> pl.Expr:
    """Repository and workflow in one text, `unattributed` where there is neither."""
    nobody = pl.col("ci_repo").is_null() & pl.col("workflow").is_null()
    both = pl.concat_str("ci_repo", "workflow", separator=" · ", ignore_nulls=True)
    return pl.when(nobody).then(pl.lit(Basis.UNATTRIBUTED)).otherwise(both).alias("name")


def with_names(rows: pl.DataFrame, builds: pl.DataFrame, *, keyed: pl.Expr) -> pl.DataFrame:
    """The rows with a `name`: of the group that their job is in, else their repository and workflow in one.

    Args:
        rows: with `ci_repo`, `workflow` and `job`.
        builds: with their `group`, see `Candidates`.
        keyed: of the rows, whether a key names them: it tells apart what the model cannot.
    """
    groups = (
        builds.filter(workflow_name() != Basis.UNATTRIBUTED)
        .drop_nulls("group")
        .select(*TASK, "group")
        .unique()
    )
    rows = rows.join(groups, on=TASK, how="left", nulls_equal=True, maintain_order="left")
    group = pl.when(~keyed).then(pl.col("group"))
    return rows.with_columns(name=pl.coalesce(group, workflow_name())).drop("group")
