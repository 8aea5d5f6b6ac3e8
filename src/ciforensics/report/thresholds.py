"""When is a finding reason to wake somebody up? `--fail-on`, for cron and CI."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ciforensics.errors import CiforensicsError, suggest
from ciforensics.show.findings import DEFINITIONS, WARNING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ciforensics.report.history import Change
    from ciforensics.show.findings import Finding

CHANGED = "changed"
_COMPARE = {">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le}
_GIVEN = re.compile(r"\s*(\w+)\s*(>=|<=|>|<)\s*(-?\d+(?:\.\d+)?|\.\d+)\s*(%?)\s*")


@dataclass(frozen=True)
class Threshold:
    """One `--fail-on`: `warning`, `changed`, or a finding's id with what its value must not pass.

    Attributes:
        name: `warning`, `changed` or a finding's id.
        compare: `>`, `<`, `>=` or `<=`; empty for the first two.
        limit: what the value is compared with, in the finding's unit.
    """

    name: str
    compare: str = ""
    limit: float = 0

    def passed(self, finding: Finding) -> bool:
        """Whether a finding passes it. What nobody can tell passes nothing."""
        if self.name == WARNING:
            return finding.severity == WARNING
        return (
            finding.id == self.name
            and finding.value is not None
            and _COMPARE[self.compare](finding.value, self.limit)
        )


def read_threshold(given: str) -> Threshold:
    """Reads one `--fail-on`.

    Args:
        given: `warning`: a finding is above its own threshold. `changed`: something is new, gone or has moved
            since the last run. Else a finding's id, `>`, `<`, `>=` or `<=`, and a number; `5%` is .05.

    Raises:
        CiforensicsError: it is none of these, no finding has the id, or its unit is another.

    Example:
        >>> read_threshold("unauthorized_share > 5%")
        Threshold(name='unauthorized_share', compare='>', limit=0.05)
    """
    if given.strip() in {WARNING, CHANGED}:
        return Threshold(given.strip())
    match = _GIVEN.fullmatch(given)
    name = match[1] if match else re.split(r"[<>=\s]", given.strip())[0]
    if name not in DEFINITIONS:
        hint = suggest(name, (WARNING, CHANGED, *DEFINITIONS))
        raise CiforensicsError(f"No finding is called {name!r}.", hint=hint)
    unit = DEFINITIONS[name].unit
    limit = float(match[3]) / (100 if match[4] else 1) if match else 0
    # 5 for 5% would never hold.
    if not match or not (0 <= limit <= 1 if unit == "share" else not match[4]):
        example = f"{name}>{'5%' if unit == 'share' else 100}"
        raise CiforensicsError(f"{given!r} is no threshold.", hint=f"give one such as '{example}' ({unit}).")
    return Threshold(name, match[2], limit)


def check_notebooks(thresholds: Sequence[Threshold], only: Sequence[str]) -> None:
    """Raises where only some notebooks run and none of them leaves the finding of a threshold.

    Args:
        thresholds: as `read_threshold` read them.
        only: names of notebooks; none: all run.
    """
    for each in thresholds:
        notebook = DEFINITIONS[each.name].notebook if each.name in DEFINITIONS else ""
        if only and notebook and notebook not in only:
            raise CiforensicsError(
                f"{each.name} is a finding of notebook {notebook}, which would not run.",
                hint=f"add `--only {notebook}`.",
            )


def passing(
    thresholds: Sequence[Threshold], findings: Sequence[Finding], changes: Sequence[Change]
) -> list[str]:
    """What passes a threshold, as sentences."""
    said = [
        finding.text for finding in findings if any(threshold.passed(finding) for threshold in thresholds)
    ]
    if any(threshold.name == CHANGED for threshold in thresholds):
        said += [f"{change.kind}: {change.text}" for change in changes]
    return said
