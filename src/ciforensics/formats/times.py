"""Timestamps, in every spelling that the logs use, to UTC microseconds."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from zoneinfo import ZoneInfo

    Reading = Callable[[pl.Series], pl.DataFrame]

RFC_3339 = "%+"  # with T or a space, any fraction, Z, UTC, or an offset with or without a colon
_ISO_LOCAL = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f")

# Common log format, HTTP dates and `date -R`, Go's time.String, an offset in whole hours.
_ZONED = (
    "%d/%b/%Y:%H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S %z",
    "%Y-%m-%d %H:%M:%S%.f %z UTC",
    "%Y-%m-%dT%H:%M:%S%.f%#z",
)
# What spreadsheets make of a timestamp when they save it again: the day comes first only where dots say so.
_LOCAL = (
    *_ISO_LOCAL,
    "%Y/%m/%d %H:%M:%S%.f",
    "%m/%d/%Y %H:%M:%S%.f",
    "%m/%d/%Y %I:%M:%S %p",
    "%d.%m.%Y %H:%M:%S%.f",
    "%d/%b/%Y:%H:%M:%S",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d %H:%M",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %I:%M %p",
    "%d.%m.%Y %H:%M",
)

# `%Y` reads the 26 of 11/24/26 as a year, and Go writes the year 1 for "no time".
_EARLIEST, _LATEST = datetime(1970, 1, 1), datetime(9999, 12, 31)  # noqa: DTZ001 (UTC, without a zone)
_SMALLEST_EPOCH = 1e8  # March 1973; what is smaller is a status, a size, a day count


def parse(texts: pl.Series, timezone: ZoneInfo) -> pl.DataFrame:
    """Reads timestamps: RFC 3339 with any offset, epoch in s, ms, µs or ns, common log format, local time.

    Epoch units are told apart by magnitude (seconds below 1e11, that is before the year 5138; then each
    further factor of 1000). A text without a zone is taken in `timezone`; a local time that a clock change
    makes twice is the earlier one, one that it leaves out is not understood. `11/24/2026`: month first.

    Args:
        texts: the timestamps as written.
        timezone: the zone of those that name none.

    Returns:
        `ts` (Datetime µs, UTC without zone; null: not understood) and `ts_resolution_ms` (Float64), how
        finely it was written: 1000 for whole seconds.

    Example:
        >>> from zoneinfo import ZoneInfo
        >>> texts = pl.Series(["2026-11-24T04:00:00.5+01:00", "1795489505"])
        >>> parse(texts, ZoneInfo("UTC")).select(pl.col("ts").cast(pl.String), "ts_resolution_ms").rows()
        [('2026-11-24 03:00:00.500000', 100.0), ('2026-11-24 03:05:05.000000', 1000.0)]
    """
    rfc, *local = (partial(_written, form, timezone) for form in (RFC_3339, *_ISO_LOCAL))
    return _first(texts.cast(pl.String), (rfc, _epoch, *local, partial(_tidied, timezone)))


def _first(texts: pl.Series, readings: Sequence[Reading]) -> pl.DataFrame:
    """Each text as the first of the readings that understands it has it."""
    stamps = readings[0](texts)
    for read in readings[1:]:
        left = (stamps["ts"].is_null() & texts.is_not_null()).arg_true()
        if left.is_empty():
            break
        more = read(texts.gather(left))
        stamps = (
            more if len(left) == len(texts) else stamps.select(c.scatter(left, more[c.name]) for c in stamps)
        )
    return stamps


def _written(form: str, timezone: ZoneInfo, texts: pl.Series) -> pl.DataFrame:
    """Reads one date format; one that names no zone is in `timezone`."""
    read = texts.str.to_datetime(form, time_unit="us", strict=False)
    if form not in (RFC_3339, *_ZONED):
        read = read.dt.replace_time_zone(str(timezone), ambiguous="earliest", non_existent="null")
        read = read.dt.convert_time_zone("UTC")
    ts = read.dt.replace_time_zone(None).rename("ts")
    frame = pl.DataFrame({"ts": ts}).with_columns(
        pl.when(pl.col("ts").is_between(_EARLIEST, _LATEST)).then("ts")
    )
    resolution = pl.lit(1000.0 if form.replace(RFC_3339, "%S").count("%S") else 60_000.0)
    if "." in form or (form == RFC_3339 and texts.str.contains(".", literal=True).any()):
        digits = texts.str.extract(r":\d\d\.(\d+)").str.len_bytes().fill_null(0)
        resolution = pl.lit(1000.0) / pl.lit(10.0).pow(pl.lit(digits.cast(pl.Float64)))
    return frame.with_columns(ts_resolution_ms=pl.when(pl.col("ts").is_not_null()).then(resolution))


def _epoch(texts: pl.Series) -> pl.DataFrame:
    """Reads numbers, `1.795489505E+12` included, which is what a spreadsheet makes of milliseconds."""
    text, size = pl.col("text"), pl.col("number").abs()
    unit = pl.when(size < 1e11).then(0).when(size < 1e14).then(3).when(size < 1e17).then(6).otherwise(9)
    frame = pl.DataFrame({"text": texts}).with_columns(
        whole=text.cast(pl.Int64, strict=False),
        number=text.cast(pl.Float64, strict=False),
        mantissa=text,
        power=pl.lit(0),
    )
    if frame["whole"].null_count() and texts.str.contains("[eE]").any():
        frame = frame.with_columns(
            mantissa=text.str.replace(r"[eE].*", ""),
            power=text.str.extract(r"[eE]\+?(-?\d+)$").cast(pl.Int32, strict=False).fill_null(0),
        )
    mantissa = pl.col("mantissa")
    dot = mantissa.str.find(".", literal=True)
    # In `1624447744877.000000` the zeros are the writer's number format, not its clock.
    end = (
        pl.when(unit > 0)
        .then(mantissa.str.strip_chars_end("0").str.len_bytes())
        .otherwise(mantissa.str.len_bytes())
    )
    decimals = (end.cast(pl.Int32) - dot.cast(pl.Int32) - 1).fill_null(0) - pl.col("power")
    ten = pl.lit(10.0)
    exact = (
        pl.when(unit < 9)
        .then(pl.col("whole") * pl.lit(10).pow((6 - unit).clip(0)))
        .otherwise(pl.col("whole") // 1000)
    )
    micros = pl.coalesce(exact, (pl.col("number") * ten.pow(6 - unit)).round().cast(pl.Int64, strict=False))
    understood = (pl.col("number") >= _SMALLEST_EPOCH) & pl.col("number").is_finite()
    return frame.select(
        ts=pl.when(understood).then(micros).cast(pl.Datetime("us")),
        ts_resolution_ms=pl.when(understood).then(1000.0 / ten.pow((unit + decimals).cast(pl.Float64))),
    ).with_columns(pl.when(pl.col("ts").is_between(_EARLIEST, _LATEST)).then("ts"))


def _tidied(timezone: ZoneInfo, texts: pl.Series) -> pl.DataFrame:
    """Reads the rest: in brackets or quotes, with a comma in the number, or in one of the rarer formats."""
    tidy = (
        texts.str.strip_chars(" \t\r\"'[]")
        .str.replace(r"(\d),(\d)", "${1}.${2}")
        .str.replace(r" (?:GMT|UT)$", " +0000")
    )
    written = [partial(_written, form, timezone) for form in (RFC_3339, *_ZONED, *_LOCAL)]
    return _first(tidy, [written[0], _epoch, *written[1:]])
