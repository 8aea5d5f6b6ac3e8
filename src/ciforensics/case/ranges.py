"""A case narrowed to a range of time: a copy without the rest, so that every question is asked of that range.

Requests, tunnels and events outside of it are left out, and of jobs and pods those that are over before it or
begin after it. Docker commands of the minutes before stay: the builds that they start send the first requests
of the range.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ciforensics.case import store
from ciforensics.errors import CiforensicsError
from ciforensics.tables import EVIDENCE

if TYPE_CHECKING:
    from pathlib import Path

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_HAPPENS = [table for table in EVIDENCE if table.happens]


@dataclass(frozen=True)
class Range:
    """From when (inclusive) to when (exclusive), UTC; None: open."""

    since: datetime | None
    until: datetime | None

    def __str__(self) -> str:
        ends = [("from", self.since), ("until", self.until)]
        return " ".join(f"{word} {end:%Y-%m-%d %H:%M:%S}" for word, end in ends if end) + " UTC"


def choose_range(case: Path, *, since: str, until: str) -> Range | None:
    """Reads `since` and `until` as a user gives them, and looks whether the case has anything there.

    Args:
        case: the case file.
        since: an ISO date or time (UTC where it names no zone), or a length such as `7d`, `12h`, `30m`, `2w`:
            so long before `until`.
        until: likewise; a length counts back from the end of the evidence, which is meant if it is empty.

    Returns:
        The range; None if neither is given.

    Raises:
        CiforensicsError: one is no time, or there is nothing in between.
    """
    if not since and not until:
        return None
    first, last = _span(case)
    end = _read_time(until, last) if until else None
    start = _read_time(since, end or last) if since else None
    wanted = Range(start, end)
    if start and end and start >= end:
        raise CiforensicsError(f"Nothing lies {wanted}.", hint="--since comes before --until.")
    if (start and start > last) or (end and end <= first):
        raise CiforensicsError(
            f"The case has nothing {wanted}.", hint=f"its evidence is {Range(first, last)}."
        )
    return wanted


def _span(case: Path) -> tuple[datetime, datetime]:
    with store.open_current(case) as con:
        times = " UNION ALL ".join(f"SELECT {table.time} AS ts FROM {table.home}" for table in _HAPPENS)
        ((first, last),) = con.execute(f"SELECT min(ts), max(ts) FROM ({times})").fetchall()
    if first is None:
        raise CiforensicsError("The case has no times to choose from.", hint="leave --since and --until out.")
    return first, last


def _read_time(given: str, end: datetime) -> datetime:
    if length := re.fullmatch(r"(\d{1,6})([mhdw])", given.strip()):
        return end - timedelta(**{_UNITS[length[2]]: int(length[1])})
    try:
        time = datetime.fromisoformat(given.strip())
    except ValueError as error:
        raise CiforensicsError(
            f"{given!r} is no time.", hint="give one such as 2026-03-17, 2026-03-17T09:30, 7d or 12h."
        ) from error
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def narrow_case(case: Path, out: Path, *, to: Range) -> None:
    """Writes a copy of the case without what lies outside a range. The case itself stays as it is.

    Args:
        case: the case file.
        out: the copy; must not be there yet.
        to: the range.
    """
    shutil.copyfile(case, out)
    with store.writing(out) as copy:  # an open end is NULL, and nothing is before or after that
        for table in _HAPPENS:
            over = table.end or f"{table.time} + INTERVAL {table.reach.total_seconds()} SECOND"
            copy.con.execute(f"DELETE FROM {table.home} WHERE {over} < ?", [to.since])
            copy.con.execute(f"DELETE FROM {table.home} WHERE {table.time} >= ?", [to.until])
        copy.changed = True
