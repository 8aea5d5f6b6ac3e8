"""A report: the notebooks, run on a case, as pages to read and findings to compare, one folder a run.

`plan` chooses the notebooks, `runner` runs copies of them, `pages` writes what they show, `history` keeps
the runs and says what changed, `index` puts it all on one page.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from filelock import FileLock, Timeout
from papermill.iorw import load_notebook_node  # type: ignore[import-untyped]
from papermill.parameterize import parameterize_notebook  # type: ignore[import-untyped]

from ciforensics.case import connect
from ciforensics.case.ranges import choose_range, narrow_case
from ciforensics.errors import CiforensicsError, suggest
from ciforensics.report import history, index, pages, runner
from ciforensics.report.plan import make_plan
from ciforensics.shipped import __version__, shipped_folder
from ciforensics.tables import CI_REPO, EVIDENCE
from ciforensics.wording import visible

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ciforensics.report.history import Change, Run
    from ciforensics.report.pages import Page

_COMPUTING = ("altair", "duckdb", "numpy", "papermill", "polars", "scipy")


@dataclass(frozen=True)
class Report:
    """A report that was made.

    Attributes:
        index: the page to begin at, of the latest run.
        folder: this run's own folder, which stays as it is.
        run: what was asked, of what, and what was found.
        changes: what is new, gone or has moved since the run before.
        errors: of the notebooks that failed, by name.
    """

    index: Path
    folder: Path
    run: Run
    changes: Sequence[Change]
    errors: Mapping[str, CiforensicsError]


def write_report(
    case: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    only: Sequence[str] = (),
    parameters: Mapping[str, str] | None = None,
    since: str = "",
    until: str = "",
    repos: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _: None,
    notebooks: str | os.PathLike[str] | None = None,
) -> Report:
    """Runs the notebooks on a case and writes what they show as pages to read, print and pass on.

    The notebooks run in an empty folder where the case, as it is now, goes by its file name: what they write
    names no folder of this machine, and an ingest meanwhile changes nothing. A notebook that fails does not
    stop the others. Earlier runs stay as they are; the index of the last one until this one is complete.
    Two reports into the same folder are made one after the other.

    Args:
        case: the case file.
        out: the folder for `index.html` and `runs/`, a folder a run.
        only: names of notebooks, e.g. `links`, or one; none: all notebooks.
        parameters: values for the notebooks' parameters, as text; each goes to every notebook that has it.
        since: from when on, as `ciforensics.case.ranges.choose_range` takes it; empty: from the beginning.
        until: until when; empty: to the end.
        repos: CI repositories to show, of those that the case names, or one; none: all.
        progress: called with a line of text when a notebook starts and ends.
        notebooks: a folder of notebooks; None: those that come with ciforensics.

    Raises:
        CiforensicsError: before anything runs: no such case, notebook, parameter, repository or time, or a
            value does not fit.

    Example:
        >>> write_report("case.duckdb", out="out", only="links").index  # doctest: +SKIP
        PosixPath('out/index.html')
    """
    case, out = Path(case), Path(out)
    only, repos = ([each] if isinstance(each, str) else each for each in (only, repos))
    if not case.is_file():
        raise CiforensicsError(f"No case at {case}.", hint="make one with `ciforensics ingest`.")
    given = {**(parameters or {}), **({"repos": ", ".join(known_repos(case, repos))} if repos else {})}
    folder = Path(notebooks or shipped_folder("notebooks"))
    tasks = make_plan(folder, only=only, parameters=given, case=case.name, progress=progress)
    wanted = choose_range(case, since=since, until=until)
    index.refuse_what_is_not_ours(out)
    history.read(out)  # what cannot be read is said before the notebooks run
    asked = {"parameters": given, "since": since, "until": until}
    with _alone(out, progress) as work:
        past = history.read(out)
        (room := work / "room").mkdir()
        if wanted:
            narrow_case(case, room / case.name, to=wanted)
        else:
            runner.pin(case.resolve(), room / case.name)
        started = datetime.now(UTC)
        ran = runner.run(tasks, room=room, work=work / "work", progress=progress)
        made = pages.make_pages(ran)
        run = _run(history.new_id(out, started), asked, room / case.name, made)
        changes = history.changes(run, past)
        banner = f"Only what lies {wanted}." if wanted else ""
        pages.write(made, ran, work / run.id / "notebooks", banner)
        before = history.comparable(run, past)
        history.write(run, work / run.id, compared_with=before[-1].id if before else None, changes=changes)
        index.write(work, made, run, past, changes=changes, banner=banner)
        (work / run.id).replace(out / "runs" / run.id)
        (work / "index.html").replace(out / "index.html")
    errors = {each.slug: each.error for each in ran if each.error}
    return Report(out / "index.html", out / "runs" / run.id, run, changes, errors)


@contextmanager
def _alone(out: Path, progress: Callable[[str], None]) -> Iterator[Path]:
    """A folder to work in while no other report is made into `out`: each is compared with the one before."""
    (out / "runs").mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        progress(f"another report is being made into {out}; waiting for it to end")
        lock.acquire()
    try:
        for left in out.glob(".report-*"):  # only the holder of the lock makes these: one was killed
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(prefix=".report-", dir=out) as scratch:
            yield Path(scratch).resolve()
    finally:
        lock.release()


def _run(run_id: str, asked: Mapping[str, Any], case: Path, made: Sequence[Page]) -> Run:
    return history.Run(
        id=run_id,
        asked=asked,
        case={"name": visible(case.name), "files": _files(case)},
        versions={
            "ciforensics": __version__,
            "python": ".".join(map(str, sys.version_info[:3])),
            **{name: metadata.version(name) for name in _COMPUTING},
        },
        notebooks={
            page.slug: {"question": page.question, "headline": page.headline, "error": page.error}
            for page in made
        },
        findings=tuple(finding for page in made for finding in page.findings),
    )


def _files(case: Path) -> list[dict[str, Any]]:
    with connect(case) as con:
        rows = con.execute(
            "SELECT parse_filename(path) AS file, source, format, bytes, rows, rejected, "
            "first_ts::VARCHAR AS first_ts, last_ts::VARCHAR AS last_ts FROM files ORDER BY source, file"
        )
        names = [column[0] for column in rows.description or ()]
        return [dict(zip(names, row, strict=True)) for row in rows.fetchall()]


def known_repos(case: Path, repos: Sequence[str]) -> Sequence[str]:
    """The repositories as they were given; raises where the case does not name one of them."""
    with connect(case) as con:
        named = " UNION ".join(f"SELECT ci_repo FROM {t.name}" for t in EVIDENCE if CI_REPO in t.columns)
        known = {repo for (repo,) in con.execute(named).fetchall() if repo}
    for repo in repos:
        if repo not in known:
            hint = suggest(repo, map(visible, known), otherwise=f"the case names {len(known):,}.")
            raise CiforensicsError(f"No log of this case names the CI repository {repo}.", hint=hint)
    return repos


def working_copy(case: str | os.PathLike[str], folder: str | os.PathLike[str]) -> list[Path]:
    """Copies the notebooks to work on, with the case filled in. Those that are already there stay.

    Args:
        case: the case file.
        folder: where the copies go; made if it is not there.

    Returns:
        The notebooks of the folder.

    Raises:
        CiforensicsError: there is no such case.
    """
    case, folder = Path(case), Path(folder)
    if not case.is_file():
        raise CiforensicsError(f"No case at {case}.", hint="make one with `ciforensics ingest`.")
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(shipped_folder("notebooks").glob("*.ipynb")):
        if not (folder / path.name).exists():
            filled = parameterize_notebook(load_notebook_node(str(path)), {"case": str(case.resolve())})
            filled.metadata.pop("papermill", None)
            for cell in filled.cells:
                cell.metadata.pop("papermill", None)
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = [], None
            nbformat.write(filled, folder / path.name)  # type: ignore[no-untyped-call]
    return sorted(folder.glob("*.ipynb"))
