"""What a share of few can be by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

_Z = 1.96


def wilson(part: pl.Expr, whole: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """The ends of Wilson's 95 % interval of a share (Wilson 1927): honest at 0 and 1 too.

    Example:
        >>> import polars as pl
        >>> ends = wilson(pl.col("m"), pl.col("n"))
        >>> pl.DataFrame({"m": [0], "n": [20]}).select(end.round(2) for end in ends).row(0)
        (0.0, 0.16)
    """
    p = part / whole
    middle = (p + _Z**2 / (2 * whole)) / (1 + _Z**2 / whole)
    reach = _Z / (1 + _Z**2 / whole) * (p * (1 - p) / whole + _Z**2 / (4 * whole**2)).sqrt()
    return (middle - reach).clip(0, 1).alias("low"), (middle + reach).clip(0, 1).alias("high")
