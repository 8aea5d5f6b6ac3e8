"""The runs of a report: a folder each, written once, and what changed from one to the next.

`DIR/runs/ID/` holds `run.json` (what was asked, of which files, by which versions, how each notebook ended)
and `findings.json` (`ciforensics.show.findings.SCHEMA`). Runs are compared only where the same was asked.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ciforensics.errors import CiforensicsError
from ciforensics.show.findings import Finding, about, shown
from ciforensics.wording import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

SCHEMA_VERSION = 2
# Version 1 knew a notebook by its number, and by the name of its file.
_SLUGS = {
    "00-what-is-in-this-case": "case",
    "01-where-do-the-401s-come-from": "unauthorized",
    "02-how-the-logs-fit-together": "links",
    "03-which-workflow-sent-them": "attribution",
    "04-how-far-is-the-migration": "migration",
    "05-what-docker-does": "docker",
    "06-where-the-bytes-go": "traffic",
}
# An exact number has no interval to leave: what counts as moved is a point of a share, a tenth of a count.
_SHARE_STEP, _COUNT_STEP = 0.01, 0.1


@dataclass(frozen=True)
class Run:
    """One run of the notebooks on a case.

    Attributes:
        id: the UTC time of its start, which names its folder.
        asked: what was asked: parameters, times, repositories. Only runs that asked the same are compared.
        case: the case's name and its files.
        versions: of ciforensics, Python and the packages that compute.
        notebooks: for each, by its name, its heading, its headline, and its error if it failed.
        findings: what the notebooks left as data.
    """

    id: str
    asked: Mapping[str, Any]
    case: Mapping[str, Any]
    versions: Mapping[str, str]
    notebooks: Mapping[str, Mapping[str, str]]
    findings: Sequence[Finding] = field(default=())

    @property
    def answered(self) -> list[str]:
        """The names of the notebooks that did not fail."""
        return [slug for slug, told in self.notebooks.items() if not told["error"]]


@dataclass(frozen=True)
class Change:
    """A finding that is new, gone, or has moved beyond its interval since the run before."""

    kind: str
    id: str
    subject: str | None
    before: float | None
    now: float | None
    text: str


def new_id(out: Path, now: datetime) -> str:
    """A name for a run that starts now: UTC, without characters that file systems refuse."""
    stamp = now.strftime("%Y-%m-%dT%H-%M-%SZ")
    taken = {path.name for path in (out / "runs").glob(f"{stamp}*")}
    return next(name for name in (stamp, *(f"{stamp}.{n}" for n in range(2, 1000))) if name not in taken)


def write(run: Run, folder: Path, *, compared_with: str | None, changes: Sequence[Change]) -> None:
    """Writes `run.json` and `findings.json`."""
    told = asdict(run)
    findings = {
        "schema_version": SCHEMA_VERSION,
        "run": run.id,
        "compared_with": compared_with,
        "findings": told.pop("findings"),
        "changes": [asdict(change) for change in changes],
    }
    for name, content in (("run", {"schema_version": SCHEMA_VERSION, **told}), ("findings", findings)):
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / f"{name}.json").write_text(f"{text}\n", "utf-8")


def read(out: Path) -> list[Run]:
    """The runs in a report's folder, the oldest first.

    Raises:
        CiforensicsError: a run's files cannot be read.
    """
    return [_read(path.parent) for path in sorted((out / "runs").glob("[!.]*/run.json"))]


def _read(folder: Path) -> Run:
    try:
        told = json.loads((folder / "run.json").read_text("utf-8"))
        findings = json.loads((folder / "findings.json").read_text("utf-8"))["findings"]
        version = told.pop("schema_version")
        if version > SCHEMA_VERSION:
            raise CiforensicsError(
                f"{folder} was written by a newer ciforensics.",
                hint="upgrade, or name another folder with `--out`.",
            )
        if version == 1:
            slugs = {page: _SLUGS.get(page, page) for page in told["notebooks"]}
            numbers = {page[:2]: slug for page, slug in slugs.items()}
            told["notebooks"] = {slugs[page]: each for page, each in told["notebooks"].items()}
            findings = [{**each, "notebook": numbers[each["notebook"]]} for each in findings]
        return Run(**told, findings=tuple(Finding(**each) for each in findings))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CiforensicsError(
            f"The earlier run in {folder} cannot be read: {visible(str(error))}.",
            hint="move that folder away; the other runs stay comparable.",
        ) from error


def comparable(run: Run, past: Sequence[Run]) -> list[Run]:
    """Those of the past runs that asked the same of a case of this name, the oldest first."""
    return [each for each in past if each.asked == run.asked and each.case["name"] == run.case["name"]]


def trends(run: Run, past: Sequence[Run]) -> dict[tuple[str, str], list[float]]:
    """For each finding its values over the comparable runs and this one, in order."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for each in (*comparable(run, past), run):
        for finding in each.findings:
            if finding.value is not None:
                values[finding.key].append(finding.value)
    return dict(values)


def changes(run: Run, past: Sequence[Run]) -> list[Change]:
    """What is new, gone or moved since the last comparable run, notebook by notebook.

    A notebook that failed says nothing of what is gone; it is compared with the last run in which it did not.
    """
    told: list[Change] = []
    for slug in run.answered:
        before = next((e for e in reversed(comparable(run, past)) if slug in e.answered), None)
        if before:
            then = {each.key: each for each in before.findings if each.notebook == slug}
            now = {each.key: each for each in run.findings if each.notebook == slug}
            told += _appeared(then, now) + _moved(then, now)
    return sorted(told, key=lambda change: ("new", "gone", "moved").index(change.kind))


_ByKey = dict[tuple[str, str], Finding]


def _appeared(then: _ByKey, now: _ByKey) -> list[Change]:
    new = [each for key, each in now.items() if key not in then and each.subject]
    gone = [each for key, each in then.items() if key not in now and each.subject]
    return [
        *(Change("new", e.id, e.subject, None, e.value, f"{about(e)}: {shown(e)}") for e in new),
        *(Change("gone", e.id, e.subject, e.value, None, f"{about(e)}: was {shown(e)}") for e in gone),
    ]


def _moved(then: _ByKey, now: _ByKey) -> list[Change]:
    pairs = [(then[key], each) for key, each in now.items() if key in then]
    return [
        Change("moved", e.id, e.subject, was.value, e.value, f"{about(e)}: {shown(was)} → {shown(e)}")
        for was, e in pairs
        if _beyond(was, e)
    ]


def _beyond(was: Finding, now: Finding) -> bool:
    if was.value is None or now.value is None:
        return was.value is not now.value
    if None in {was.low, was.high, now.low, now.high}:
        step = _SHARE_STEP if now.unit == "share" else _COUNT_STEP * abs(was.value)
        return abs(now.value - was.value) > step
    outside = [
        not (b.low <= a.value <= b.high)  # type: ignore[operator]
        for a, b in ((was, now), (now, was))
    ]
    return all(outside)
