"""What must be said with an attribution: what it rests on, what was missing, how far to trust it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from ciforensics.analysis.trust import checks
from ciforensics.wording import Sentence, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ciforensics.analysis.answer import Attribution

_GROUPS = 3  # that are named


def remarks(found: Attribution) -> tuple[Sentence, ...]:
    """Sentences that go with an attribution, the most important first."""
    return tuple(_remarks(found))


def _remarks(found: Attribution) -> Iterator[Sentence]:
    requests, builds = found.evidence.requests, found.evidence.builds
    if requests.is_empty():
        yield say(
            "There is no 401 to attribute. Missing: GitHub's CSV (github_csv) or a proxy's log (mitmproxy)."
        )
        return
    yield say(
        "Of {total} 401s, {exact:%} are named by a shared key, {model:%} by the model; {unattributed:%} are "
        "unattributed: no known build explains them.",
        found.summary.with_columns(model=1 - pl.col("exact") - pl.col("unattributed")),
    )
    yield from _missing(found)
    if found.offset_s:
        yield say(
            "The observer's clock was taken to be {offset} s ahead of the builds'.", offset=found.offset_s
        )
    if not len(found.fit.edge):
        return
    yield Sentence(f"The probabilities are {found.calibration.verdict}.", "sentence")
    if found.expected:
        yield Sentence(found.expected.text, "sentence")
    late = checks.late_share(found.fit, found.evidence.problem.bins)
    if late > checks.LATE:
        yield say(
            "{late:%} of the delays are in the last tenth of the window of {window:.0f} s: a longer one may "
            "find more.",
            late=late,
            window=found.build_window_s,
        )
    groups = builds["group"].drop_nulls().unique().sort().to_list()
    for group in groups[:_GROUPS]:
        yield say("{group} always run together: no time can tell them apart.", group=group)
    if len(groups) > _GROUPS:
        yield say("So do the workflows of {n} more groups.", n=len(groups) - _GROUPS)


def _missing(found: Attribution) -> Iterator[Sentence]:
    requests, builds = found.evidence.requests, found.evidence.builds
    if builds.is_empty():
        yield say(
            "No build is known, so only shared keys can name a workflow. Missing: the docker wrapper's log "
            "(docker_wrapper) or GitHub's jobs (jobs)."
        )
    elif not len(found.evidence.problem.edge_request):
        yield say(
            "No build ran in the {window:.0f} s before any 401: the 401s are from {a} to {b}, the builds "
            "from {c} to {d}. Missing: logs of the same time, or the parameter offset_s if a clock is wrong.",
            window=found.build_window_s,
            a=requests["ts"].min(),
            b=requests["ts"].max(),
            c=builds["ts"].min(),
            d=builds["ts"].max(),
        )
    if (requests["outcome"] == "unknown").all():
        yield say(
            "The log shows no other answers, so challenges and refusals cannot be told apart. Missing: a CSV "
            "with all statuses."
        )
    nameless = builds.filter(pl.all_horizontal(pl.col("ci_repo", "workflow", "run_id").is_null())).height
    if nameless:
        yield say(
            "{n} of {all} builds name no repository, workflow or run: what they sent is unattributed.",
            n=nameless,
            all=len(builds),
        )
