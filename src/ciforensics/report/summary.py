"""What a report found, in Markdown: for a CI job's summary, a ticket or a chat."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ciforensics.report import Report

_MARKS = re.compile(r"([\\`*_{}\[\]()#+\-.!|~<>&@:$])")
_SHOWN = 20


def write_summary(report: Report, passing: Sequence[str]) -> str:
    """A report's headlines, changes and failures, and what passed a threshold.

    Args:
        report: the report.
        passing: sentences about the findings that passed one.
    """
    said = [f"{change.kind}: {change.text}" for change in report.changes]
    over = [each for each in passing if each not in set(said)]  # the changes have a list of their own
    parts = ["# What the logs say", *_list("Over a threshold", over)]
    parts += _list("Notebooks that failed", [str(error) for error in report.errors.values()])
    told = report.run.notebooks.values()
    parts += [
        f"**{escaped(each['question'])}** {escaped(each['headline'])}" for each in told if each["headline"]
    ]
    parts += _list("Since the last run", said)
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    r"""Text that means nothing in Markdown or HTML: what came from a log stays what it is.

    Example:
        >>> print(escaped("[x](javascript:1) <b>"))
        \[x\]\(javascript\:1\) \<b\>
    """
    return _MARKS.sub(r"\\\1", " ".join(text.split()))


def _list(title: str, lines: Sequence[str]) -> list[str]:
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    listed = "\n".join(f"- {escaped(line)}" for line in (*lines[:_SHOWN], *more))
    return [f"## {title}", listed] if lines else []
