"""What a notebook leaves as data: findings, figures to follow over weeks, each with its unit.

A notebook shows them as sentences and tables; a report reads them from there, keeps them in `findings.json`
and compares them with those of the run before. `findings.toml` says which there are, `SCHEMA` what one holds.
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING, Any

from ciforensics import wording
from ciforensics.wording import tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INFO, WARNING = "info", "warning"
SEVERITIES = (INFO, WARNING)
# Far more than are shown: who drops from rank 20 to 21 is not gone.
_KEPT = 500


@dataclass(frozen=True)
class Definition:
    """What findings of one id are about.

    Attributes:
        id: its name, the same in every run.
        notebook: the name of the notebook that leaves it.
        meaning: what the value says.
        unit: of the value, `low` and `high`; a `share` is between 0 and 1.
        warns_above: a greater value is a `warning`; None: it is never one.
    """

    id: str
    notebook: str
    meaning: str
    unit: str
    warns_above: float | None = None


DEFINITIONS = {
    name: Definition(name, notebook, **told)
    for notebook, findings in tomllib.loads(
        (resources.files(__package__) / "findings.toml").read_text("utf-8")
    ).items()
    for name, told in findings.items()
}
"""The findings that there are, by id."""

SCHEMA = {
    "id": "which finding, see below",
    "notebook": "the notebook that left it, by its name",
    "question": "the heading of that notebook",
    "subject": "whom it is about, e.g. a workflow; null: the whole case",
    "value": "a number; null: this evidence cannot tell",
    "unit": "of value, low and high; a share is between 0 and 1",
    "low": "the interval's lower end; null: the number is exact, or nobody knows",
    "high": "the interval's upper end",
    "evidence": "where to look: a query, or run ids",
    "severity": f"{' or '.join(SEVERITIES)}: above its threshold or not",
    "text": "what the notebook says",
}
"""The fields of a finding in `findings.json`, and what they mean."""


@dataclass(frozen=True)
class Finding:
    """One figure that a notebook found; `SCHEMA` says what the fields mean."""

    id: str
    notebook: str
    question: str
    subject: str | None
    value: float | None
    unit: str
    low: float | None
    high: float | None
    evidence: str
    severity: str
    text: str

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same finding in another run."""
        return self.id, self.subject or ""


def about(finding: Finding) -> str:
    """What a finding is about, in words.

    Example:
        >>> about(Finding("pinned", "migration", "", "acme/web", 3, "builds", None, None, "", "info", ""))
        'acme/web (workflows whose images are pinned by digest)'
    """
    meaning = DEFINITIONS[finding.id].meaning if finding.id in DEFINITIONS else finding.id
    return f"{finding.subject} ({meaning})" if finding.subject else meaning


def shown(finding: Finding) -> str:
    """A finding's value, with its unit and its interval.

    Example:
        >>> shown(Finding("a", "traffic", "", None, 0.25, "share", 0.2, 0.31, "", "info", ""))
        '25.0 % (20.0 % to 31.0 %)'
        >>> shown(Finding("a", "traffic", "", None, 1, "tunnels", None, None, "", "info", ""))
        '1 tunnel'
    """
    if finding.value is None:
        return "cannot tell"
    if finding.low is None or finding.high is None:
        return _with_unit(finding.value, finding.unit)
    low, high = (_number(end, finding.unit) for end in (finding.low, finding.high))
    return f"{_with_unit(finding.value, finding.unit)} ({low} to {high})"


def _with_unit(value: float, unit: str) -> str:
    counted = unit.removesuffix("s") if value == 1 else unit
    return _number(value, unit) + ("" if unit == "share" else f" {counted}")


def _number(value: float, unit: str) -> str:
    return f"{value * 100:,.1f} %" if unit == "share" else wording.plain(round(value, 1))


def say_finding(
    name: str,
    template: str,
    data: wording.Data | None = None,
    /,
    *,
    value: str,
    low: str = "",
    high: str = "",
    evidence: str = "",
    otherwise: str = "",
    **values: object,
) -> wording.Sentence:
    """Says what was found, as `say` does, and leaves it as data for the report.

    Args:
        name: the finding's id, one of `DEFINITIONS`.
        template: as for `say`.
        data: as for `say`.
        value: which of the values is the finding.
        low: which one is the lower end of its interval; empty: the value is exact.
        high: which one is the upper end.
        evidence: where to look, e.g. a query.
        otherwise: what to say where the value is NULL.
        values: further values.

    Raises:
        KeyError: no finding has this id, or there is no such value.

    Example:
        >>> say_finding("rejected", "{n} records could not be read.", value="n", n=12)
        12 records could not be read.
    """
    filled = wording.with_row(data, values)
    unknown = filled[value] is None
    said = wording.say(otherwise if unknown and otherwise else template, None, **filled)
    finding = _record(name, filled, None, (value, low, high), evidence, said.text)
    return replace(said, kind="finding", findings=(finding,))


def show_findings(
    name: str,
    data: wording.Data,
    /,
    *,
    subject: str,
    value: str,
    low: str = "",
    high: str = "",
    evidence: str = "",
    rows: int = 20,
    **shown: Any,
) -> tables.Table:
    """Shows a table, as `show_table` does, and leaves each row as a finding.

    Args:
        name: the findings' id, one of `DEFINITIONS`.
        data: as for `show_table`.
        subject: the column that says whom a row is about.
        value: the column with the finding.
        low: the column with the lower end of its interval; empty: the value is exact.
        high: the column with the upper end.
        evidence: the column that says where to look, e.g. run ids.
        rows: how many rows to show at most.
        shown: as for `show_table`.

    Raises:
        KeyError: no finding has this id, or there is no such column.

    Example:
        >>> import polars as pl
        >>> ranked = pl.DataFrame({"name": ["acme/web · CI"], "per_day": [310.5]})
        >>> show_findings("offender", ranked, subject="name", value="per_day", caption="Who sent them")
        Who sent them
        name           per_day
        ----------------------
        acme/web · CI    310.5
        (1 row)
    """
    names, cells, _ = wording.fetch(data, _KEPT)
    findings = []
    for row in cells:
        filled = dict(zip(names, row, strict=True))
        whom = wording.visible(str(filled[subject]))
        where = wording.plain(filled[evidence]) if evidence else ""
        findings.append(_record(name, filled, whom, (value, low, high), where, ""))
    return replace(tables.show_table(data, rows=rows, **shown), findings=tuple(findings))


def _record(  # noqa: PLR0917 (both callers have all of them at hand)
    name: str,
    filled: Mapping[str, Any],
    subject: str | None,
    columns: Sequence[str],
    evidence: str,
    text: str,
) -> dict[str, Any]:
    defined = DEFINITIONS[name]
    # Nine digits: sums of floats differ in the last ones from run to run.
    value, low, high = (None if not c or filled[c] is None else float(f"{filled[c]:.9g}") for c in columns)
    limit = defined.warns_above
    above = limit is not None and value is not None and value > limit
    made = Finding(
        id=name,
        notebook=defined.notebook,
        question="",  # the report knows the notebook's heading
        subject=subject,
        value=value,
        unit=defined.unit,
        low=low,
        high=high,
        evidence=evidence,
        severity=WARNING if above else INFO,
        text=text,
    )
    return asdict(made if text else replace(made, text=f"{about(made)}: {shown(made)}"))
