from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ciforensics.formats import times

BERLIN = ZoneInfo("Europe/Berlin")


def read(text: str | None, zone: str = "UTC") -> tuple[str | None, float | None]:
    ts, resolution = times.parse(pl.Series([text], dtype=pl.String), ZoneInfo(zone)).row(0)
    return ts and ts.isoformat(), resolution


@pytest.mark.parametrize(
    ("text", "ts", "resolution"),
    [
        ("2026-11-24T03:05:05Z", "2026-11-24T03:05:05", 1000),
        ("2026-11-24t03:05:05z", "2026-11-24T03:05:05", 1000),
        ("2023-05-21T13:43:01+00:00", "2023-05-21T13:43:01", 1000),
        ("2023-05-21T13:43:01.890564Z", "2023-05-21T13:43:01.890564", 0.001),
        ("2026-11-24T04:05:05.5+01:00", "2026-11-24T03:05:05.500000", 100),
        ("2026-11-24T04:05:05.5+0100", "2026-11-24T03:05:05.500000", 100),
        ("2026-11-24T04:05:05+01", "2026-11-24T03:05:05", 1000),
        ("2026-11-23T22:05:05-05:00", "2026-11-24T03:05:05", 1000),
        ("2026-11-24 03:05:05.123456 UTC", "2026-11-24T03:05:05.123456", 0.001),
        ("2026-11-24 03:05:05.123 +0000 UTC", "2026-11-24T03:05:05.123000", 1),
        ("2026-11-24T03:05:05,123Z", "2026-11-24T03:05:05.123000", 1),
        ("2026-11-24T03:05:05.123456789Z", "2026-11-24T03:05:05.123456", 1e-6),
        ("1795489505", "2026-11-24T03:05:05", 1000),
        ("1795489505123", "2026-11-24T03:05:05.123000", 1),
        ("1795489505123456", "2026-11-24T03:05:05.123456", 0.001),
        ("1795489505123456789", "2026-11-24T03:05:05.123456", 1e-6),
        ("1795489505.709", "2026-11-24T03:05:05.709000", 1),
        ("1795489505.709123", "2026-11-24T03:05:05.709123", 0.001),
        ("1795489505.000", "2026-11-24T03:05:05", 1),
        ("1624447744877.000000", "2021-06-23T11:29:04.877000", 1),
        ("1624447744877.5", "2021-06-23T11:29:04.877500", 0.1),
        ("1.795489505E+12", "2026-11-24T03:05:05", 1000),
        ("1.795489505123E+12", "2026-11-24T03:05:05.123000", 1),
        ("1.795489505e9", "2026-11-24T03:05:05", 1000),
        ("[24/Nov/2026:03:05:05 +0000]", "2026-11-24T03:05:05", 1000),
        ("24/Nov/2026:04:05:05 +0100", "2026-11-24T03:05:05", 1000),
        ("Tue, 24 Nov 2026 03:05:05 GMT", "2026-11-24T03:05:05", 1000),
        ("Tue, 24 Nov 2026 04:05:05 +0100", "2026-11-24T03:05:05", 1000),
        ("2026-11-24T03:05:05", "2026-11-24T03:05:05", 1000),
        ("2026/11/24 03:05:05", "2026-11-24T03:05:05", 1000),
        ("11/24/2026 3:05:05 AM", "2026-11-24T03:05:05", 1000),
        ("24.11.2026 03:05:05", "2026-11-24T03:05:05", 1000),
        ("24.11.2026 03:05:05.5", "2026-11-24T03:05:05.500000", 100),
        ("11/24/2026 3:05", "2026-11-24T03:05:00", 60_000),
        ("2026-11-24 03:05", "2026-11-24T03:05:00", 60_000),
        (' "2026-11-24T03:05:05Z" ', "2026-11-24T03:05:05", 1000),
        (" 1795489505 ", "2026-11-24T03:05:05", 1000),
    ],
)
def test_every_spelling_is_read_with_the_precision_it_was_written_in(
    text: str, ts: str, resolution: float
) -> None:
    assert read(text) == (ts, resolution)


@pytest.mark.parametrize("text", ["1.79549E+12", "1,79549E+12"])
def test_an_epoch_that_a_spreadsheet_rounded_says_how_little_is_left_of_it(text: str) -> None:
    assert read(text) == ("2026-11-24T03:13:20", 10_000_000)


@pytest.mark.parametrize(
    "text",
    [
        "", "-", "nil", "yesterday", "200", "46350.128", "nan", "inf", "1e300", "-1795489505",
        "2026-13-01T00:00:00Z", "2026-11-24T25:00:00Z", "11/24/26 3:05", "0001-01-01T00:00:00Z",
        "-2026-11-24T03:04:13Z", "+12026-11-24T03:04:13Z", "2026-11-24T03:05:05Z\x00", "9" * 5000, None,
    ],
)  # fmt: skip
def test_what_is_no_timestamp_is_not_guessed(text: str | None) -> None:
    assert read(text) == (None, None)


def test_a_time_without_a_zone_is_in_the_users_zone() -> None:
    assert read("2026-11-24T04:05:05", "Europe/Berlin") == ("2026-11-24T03:05:05", 1000)
    assert read("2026-11-24T04:05:05Z", "Europe/Berlin") == ("2026-11-24T04:05:05", 1000)


def test_a_clock_change_makes_the_earlier_time_or_none() -> None:
    assert read("2026-10-25T02:30:00", "Europe/Berlin")[0] == "2026-10-25T00:30:00"
    assert read("2026-03-29T02:30:00", "Europe/Berlin")[0] is None


def test_one_column_may_hold_every_spelling() -> None:
    texts = pl.Series(["1795489505", None, "2026-11-24T03:05:05Z", "x", "[24/Nov/2026:03:05:05 +0000]"] * 3)
    ts = times.parse(texts, BERLIN)["ts"]
    assert ts.is_null().to_list() == [False, True, False, True, False] * 3
    assert ts.n_unique() == 2
    assert times.parse(pl.Series([], dtype=pl.String), BERLIN).schema == {
        "ts": pl.Datetime("us"),
        "ts_resolution_ms": pl.Float64,
    }


MOMENTS = st.datetimes(datetime(1974, 1, 1), datetime(2100, 1, 1))


@settings(deadline=None)
@given(
    st.lists(MOMENTS, min_size=1, max_size=20),
    st.sampled_from(["iso", "s", "ms", "us", "ns", "float", "offset"]),
)
def test_what_was_written_is_what_is_read(moments: list[datetime], form: str) -> None:
    since = [(moment - datetime(1970, 1, 1)) // timedelta(microseconds=1) for moment in moments]
    utc = [moment.replace(tzinfo=UTC) for moment in moments]
    unit, texts = {
        "iso": (1, [moment.isoformat() for moment in utc]),
        "offset": (1, [moment.astimezone(ZoneInfo("Asia/Kolkata")).isoformat(" ") for moment in utc]),
        "s": (1_000_000, [str(micros // 1_000_000) for micros in since]),
        "ms": (1_000, [str(micros // 1_000) for micros in since]),
        "us": (1, [str(micros) for micros in since]),
        "ns": (1, [f"{micros}999" for micros in since]),
        "float": (1, [f"{micros // 1_000_000}.{micros % 1_000_000:06}" for micros in since]),
    }[form]
    read_back = times.parse(pl.Series(texts), ZoneInfo("UTC"))["ts"].dt.epoch("us").to_list()
    assert read_back == [micros // unit * unit for micros in since]


@settings(deadline=None)
@given(st.lists(st.text(max_size=30)))
def test_no_text_is_too_strange(texts: list[str]) -> None:
    assert len(times.parse(pl.Series(texts, dtype=pl.String), BERLIN)) == len(texts)
