"""A report to pass on: of the case with pseudonyms, searched for every name it must not have, as one zip."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ciforensics import redact
from ciforensics.errors import CiforensicsError
from ciforensics.report import Report, known_repos, write_report
from ciforensics.share import find_leaks, pseudonymise, write_zip

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from ciforensics.share import Pseudonyms

_SHOWN = 5


@dataclass(frozen=True)
class Shared:
    """A report that can be passed on.

    Attributes:
        zip: the file to pass on: the pages, the notebooks, and what was found.
        mapping: which name each pseudonym stands for; it stays with its owner.
        report: what was made; its folder is only in the zip.
    """

    zip: Path
    mapping: Path
    report: Report


def share_report(
    case: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    parameters: Mapping[str, str] | None = None,
    repos: Sequence[str] = (),
    **options: Any,
) -> Shared:
    """Makes a report of a case with pseudonyms instead of names, as one zip.

    The notebooks run on the pseudonymised case, so charts are clean too. All that would be shared is then
    searched for every name; if one is left, nothing is written. A report of this kind knows no earlier runs.

    Args:
        case: the case file. `CASE.pseudonyms.csv` is written beside it.
        out: the folder for the zip.
        parameters: as for `write_report`; a value that is a name of the case is renamed.
        repos: as for `write_report`, by their names.
        options: as for `write_report`.

    Raises:
        CiforensicsError: as `write_report` does; or a name was left.

    Example:
        >>> share_report("case.duckdb", out="out").zip  # doctest: +SKIP
        PosixPath('out/2026-03-17T03-00-00Z.zip')
    """
    case, out = Path(case), Path(out)
    if not case.is_file():
        raise CiforensicsError(f"No case at {case}.", hint="make one with `ciforensics ingest`.")
    repos = [repos] if isinstance(repos, str) else repos
    known_repos(case, repos)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".share-", dir=out) as scratch:
        folder = Path(scratch) / "report"
        derived = Path(scratch) / "derived"
        pseudonyms = pseudonymise(case, derived, key=redact.load_key())
        made = write_report(
            derived.rename(derived.with_name(_renamed(case.name, pseudonyms))),
            out=folder,
            parameters={name: _renamed(value, pseudonyms) for name, value in (parameters or {}).items()},
            repos=[_renamed(repo, pseudonyms) for repo in repos],
            **options,
        )
        if left := find_leaks(folder, pseudonyms):
            more = f", and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
            raise CiforensicsError(
                f"Names are left in what would be shared: {'; '.join(map(str, left[:_SHOWN]))}{more}.",
                hint="nothing was written; leave the notebook out (`--only`), and please report it.",
            )
        mapping = case.with_name(f"{case.name}.pseudonyms.csv")
        pseudonyms.write(mapping)
        write_zip(folder, out / f"{made.run.id}.zip")
    return Shared(out / f"{made.run.id}.zip", mapping, made)


def _renamed(value: str, pseudonyms: Pseudonyms) -> str:
    """A parameter's value, its parts between commas renamed where they are names of the case."""
    by_name = {name.lower(): pseudonym for pseudonym, name in sorted(pseudonyms.names.items(), reverse=True)}
    parts = [part.strip() for part in value.split(",")]
    return ", ".join(by_name.get(part.lower(), part) for part in parts)
