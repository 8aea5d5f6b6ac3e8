"""What must be said with an attribution: what it rests on, what was missing, how far to trust it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from ciforensics.analysis.trust.checks import LATE, late_share
from ciforensics.wording import Sentence, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ciforensics.analysis.attribution.candidates import Candidates
    from ciforensics.analysis.attribution.fit import Fit
    from ciforensics.analysis.trust.calibration import Calibration
    from ciforensics.analysis.trust.expected import Expected

_GROUPS = 3  # that are named


def write_remarks(
    candidates: Candidates,
    fit: Fit,
    *,
    summary: pl.DataFrame,
    calibration: Calibration,
    expected: Expected | None,
    offset_s: float,
    build_window_s: float,
) -> Iterator[Sentence]:
    """Sentences that go with an attribution, the most important first.

    Args:
        candidates: requests and builds.
        fit: what the model found.
        summary: one row, see `Attribution.summary`.
        calibration: how far the probabilities can be trusted.
        expected: how right fleets like this one get it.
        offset_s: by how much the observer's clock was taken to be ahead of the builds'.
        build_window_s: for how long after its start a build was a candidate.
    """
    if candidates.requests.is_empty():
        yield say(
            "There is no 401 to attribute. Missing: GitHub's CSV (github_csv) or a proxy's log (mitmproxy)."
        )
        return
    yield say(
        "Of {total} 401s, {exact:%} are named by a shared key, {model:%} by the model; {unattributed:%} are "
        "unattributed: no known build explains them.",
        summary.with_columns(model=1 - pl.col("exact") - pl.col("unattributed")),
    )
    yield from _missing(candidates, build_window_s)
    if offset_s:
        yield say("The observer's clock was taken to be {offset} s ahead of the builds'.", offset=offset_s)
    if not len(fit.posterior.edge):
        return
    yield Sentence(f"The probabilities are {calibration.verdict}.", "sentence")
    if expected:
        yield Sentence(expected.text, "sentence")
    late = late_share(fit, candidates.problem.bins)
    if late > LATE:
        yield say(
            "{late:%} of the delays are in the last tenth of the window of {window:.0f} s: a longer one may "
            "find more.",
            late=late,
            window=build_window_s,
        )
    groups = candidates.builds["group"].drop_nulls().unique().sort().to_list()
    for group in groups[:_GROUPS]:
        yield say("{group} always run together: no time can tell them apart.", group=group)
    if len(groups) > _GROUPS:
        yield say("So do the workflows of {n} more groups.", n=len(groups) - _GROUPS)


def _missing(candidates: Candidates, build_window_s: float) -> Iterator[Sentence]:
    requests, builds = candidates.requests, candidates.builds
    if builds.is_empty():
        yield say(
            "No build is known, so only shared keys can name a workflow. Missing: the docker wrapper's log "
            "(docker_wrapper) or GitHub's jobs (jobs)."
        )
    elif not len(candidates.problem.edges.request):
        yield say(
            "No build ran in the {window:.0f} s before any 401: the 401s are from {a} to {b}, the builds "
            "from {c} to {d}. Missing: logs of the same time, or the parameter offset_s if a clock is wrong.",
            window=build_window_s,
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
