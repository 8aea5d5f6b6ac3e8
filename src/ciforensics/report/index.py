"""The page to begin at: each notebook's headline, its findings with their trend, and the changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ciforensics.errors import CiforensicsError
from ciforensics.report import history, pages
from ciforensics.show.findings import WARNING, shown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ciforensics.report.history import Change, Run
    from ciforensics.report.pages import Page
    from ciforensics.show.findings import Finding

_WIDTH, _HEIGHT, _EDGE = 120, 24, 3
_RUNS = 60
_SUBJECTS = 5


@dataclass(frozen=True)
class Sparkline:
    """A trend as a small drawing.

    Attributes:
        points: of the line, as SVG has them.
        last: where the line ends.
        text: the same in words.
    """

    points: str
    last: tuple[float, float]
    text: str


def refuse_what_is_not_ours(out: Path) -> None:
    """Raises where a report would replace an `index.html`, or write into a `runs`, that no report made."""
    index = out / "index.html"
    ours = index.is_file() and pages.GENERATOR in index.read_text("utf-8", errors="replace")
    foreign = [path for path in (out / "runs").glob("[!.]*") if not (path / "run.json").is_file()]
    if (index.exists() and not ours) or foreign:
        raise CiforensicsError(
            f"{out} has {'runs/' + foreign[0].name if foreign else 'an index.html'} that no report made.",
            hint="name another folder with `--out`.",
        )


def write(
    work: Path, made: Sequence[Page], run: Run, past: Sequence[Run], *, changes: Sequence[Change], banner: str
) -> None:
    """Writes the index twice: into the run's folder, and for the top of the report's.

    Args:
        work: has the run's folder; `index.html` goes beside it.
        made: the pages of this run.
        run: this run.
        past: the runs before it, the oldest first.
        changes: what changed since.
        banner: what holds for all pages; may be empty.
    """
    template = pages.environment().get_template("index.html")
    trends = history.trends(run, past)
    compared = history.comparable(run, past)
    given = {
        "run": run,
        "cards": [(page, _rows(page.findings, trends)) for page in made],
        "changes": changes,
        "compared": compared[-1].id if compared else None,
        "banner": banner,
        "past": [each.id for each in reversed(past)],
    }
    for path, folder, others in (
        (work / run.id / "index.html", "", "../"),
        (work / "index.html", f"runs/{run.id}/", "runs/"),
    ):
        path.write_text(template.render(**given, folder=folder, others=others), "utf-8")


def _rows(
    findings: Sequence[Finding], trends: dict[tuple[str, str], list[float]]
) -> list[tuple[Finding, bool, Sparkline | None]]:
    """The findings to show, each with its trend: of those about a subject five, warnings first."""
    shown_now = [each for each in findings if each.subject is None]
    for name in dict.fromkeys(each.id for each in findings if each.subject is not None):
        about = [each for each in findings if each.id == name]
        shown_now += sorted(about, key=lambda each: each.severity != WARNING)[:_SUBJECTS]
    return [(each, each.severity == WARNING, sparkline(trends.get(each.key, []), each)) for each in shown_now]


def sparkline(values: Sequence[float], finding: Finding) -> Sparkline | None:
    """A line through the values of the last runs; None where there are not two."""
    if len(values) < 2:
        return None
    values = values[-_RUNS:]
    low, high = min(values), max(values)
    step = (_WIDTH - 2 * _EDGE) / (len(values) - 1)
    tall = _HEIGHT - 2 * _EDGE
    points = [
        (
            round(_EDGE + nth * step, 1),
            round(_HEIGHT - _EDGE - (tall * (value - low) / (high - low) if high > low else tall / 2), 1),
        )
        for nth, value in enumerate(values)
    ]
    ends = [shown(_exact(finding, value)) for value in (values[0], low, high, values[-1])]
    text = f"over {len(values)} runs: first {ends[0]}, least {ends[1]}, most {ends[2]}, now {ends[3]}"
    return Sparkline(" ".join(f"{x},{y}" for x, y in points), points[-1], text)


def _exact(finding: Finding, value: float) -> Finding:
    return replace(finding, value=value, low=None, high=None)
