"""From files to a case: find them, tell which is which, read what is new of each."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ciforensics import redact
from ciforensics.case import load, store, unpack
from ciforensics.case.files import FileReport, Files, How
from ciforensics.errors import CiforensicsError, suggest
from ciforensics.sources import all_sources
from ciforensics.tables import EVIDENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


def ingest(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    case: str | os.PathLike[str] = "case.duckdb",
    source: str | None = None,
    mapping: Mapping[str, str] | None = None,
    timezone: str | None = None,
    verify: bool = False,
    max_uncompressed: int = unpack.MAX_UNCOMPRESSED,
    on_file: Callable[[FileReport], None] = lambda _: None,
    on_bytes: Callable[[Path, int], None] = lambda *_: None,
    on_wait: Callable[[str], None] = lambda _: None,
) -> list[FileReport]:
    """Reads logs into a case. Run it again on growing logs: only what is new is read.

    Args:
        paths: a file, a folder that is searched through, or several; a log is recognised by its content.
        case: the case file; made if it is not there.
        source: read the files as this source, see `ciforensics sources`.
        mapping: our column to the log's own, e.g. `{"ts": "When"}`.
        timezone: IANA zone of timestamps that name none; UTC if not given.
        verify: compare everything that was read before, not only its edges.
        max_uncompressed: bytes that one compressed file may unpack to.
        on_file: called with each file's report.
        on_bytes: called with a file and how many bytes of it were read by now.
        on_wait: called with a sentence when another writer has to end first.

    Returns:
        A report for each file, in the order in which they were read.

    Raises:
        CiforensicsError: nothing was recognised, or an option is wrong. The case is then as it was.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> job = '"repo":"acme/web","workflow":"CI","job":"b","run_id":"1","cmd":"build"'
        >>> _ = (folder / "any-name.log").write_text('{"ts":"2026-11-24T03:04:13Z",' + job + "}" + chr(10))
        >>> [(report.source, report.rows) for report in ingest(folder, case=folder / "case.duckdb")]
        [('docker_wrapper', 1)]
    """
    how = How(source, mapping, timezone, verify, max_uncompressed)
    _check(how)
    case = Path(case)
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    logs = find_files(given, leave_out=case)
    with (
        store.writing(case, waiting=on_wait) as copy,
        ThreadPoolExecutor(2) as pool,
        ThreadPoolExecutor(1) as writer,
    ):
        loader = load.Loader(copy.con, key=redact.load_key(), pool=pool, writer=writer)
        files = Files(copy.con, loader, how, on_bytes)
        reports = []
        for path in logs:
            reports.append(files.read(path))
            on_file(reports[-1])
        if all(report.status in {"unknown", "unreadable", "empty"} for report in reports):
            raise _nothing(given, reports)
        files.settle_paths()
        if any(report.status in {"new", "grown"} for report in reports) or files.moved:
            copy.con.execute("DELETE FROM store.twins; INSERT INTO store.twins FROM twins_found")
            copy.changed = True
    return reports


def _nothing(paths: Iterable[object], reports: Sequence[FileReport]) -> CiforensicsError:
    told = [report for report in reports if report.message]
    if len(told) == 1:
        fact, _, hint = told[0].message.partition("\nHint: ")
        return CiforensicsError(fact, hint=hint)
    where = ", ".join(str(path) for path in paths)
    return CiforensicsError(
        f"Nothing was recognised among the {len(reports)} files of {where}.",
        hint="`ciforensics sources` shows what can be read; --source NAME says why a file does not fit.",
    )


def _check(how: How) -> None:
    names = [each.name for each in all_sources()]
    if how.source is not None and how.source not in names:
        raise CiforensicsError(
            f"There is no source {how.source!r}.", hint=f"choose one of {', '.join(names)}."
        )
    columns = {column.name for table in EVIDENCE for column in table.columns}
    for column in how.mapping or ():
        if column not in columns:
            hint = suggest(column, columns, otherwise="ts is one.")
            raise CiforensicsError(
                f"--map {column}=…: there is no column {column!r}.", hint=f"{hint} See `ciforensics sources`."
            )
    if how.timezone is not None:
        try:
            ZoneInfo(how.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise CiforensicsError(
                f"There is no time zone {how.timezone!r}.",
                hint="give an IANA name such as Europe/Berlin or UTC.",
            ) from error


def find_files(paths: Iterable[str | os.PathLike[str]], *, leave_out: Path) -> list[Path]:
    """Files, and what lies in folders, smallest first: a shorter copy of a log comes before a longer one.

    Hidden files, DuckDB files and the case's own are left out of folders.
    """
    sizes: dict[Path, int] = {}
    own = {leave_out.name, leave_out.name + ".lock"}
    for given in map(Path, paths):
        if not given.exists():
            raise CiforensicsError(f"There is no {given}.", hint="give files or folders that exist.")
        inside = given.rglob("*") if given.is_dir() else [given]
        for path in inside:
            hidden = given.is_dir() and any(part.startswith(".") for part in path.relative_to(given).parts)
            if path.is_file() and not hidden and path.name not in own and path.suffix != ".duckdb":
                sizes[path] = path.stat().st_size
    return sorted(sizes, key=lambda path: (sizes[path], str(path)))
