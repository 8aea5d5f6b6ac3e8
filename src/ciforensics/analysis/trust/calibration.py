"""Are the probabilities right as often as they say?

Where keys name the run of enough requests, these say: each is predicted by a fit that does not know its key,
and probabilities that turn out too sure, or not sure enough, are put right by one number (Guo et al. 2017,
"On Calibration of Modern Neural Networks").

Keyed requests are no random sample. They are of the pods behind a proxy, or of clients that tell their job:
what is found holds for the others as far as those are alike. And what no known build sent has hardly ever a
key, so keys cannot say whether nobody is named as often as is right (measured: where 30 % of the builds are
unknown, the model seems 9 points too unsure on keyed requests, and is not). So what is checked and put right
is which workflow it was, given that a known build sent it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.optimize import minimize_scalar

from ciforensics.analysis.attribution.candidates import hide_keys
from ciforensics.analysis.attribution.em import fit_model
from ciforensics.analysis.attribution.problem import summed
from ciforensics.analysis.trust.shares import wilson
from ciforensics.analysis.trust.slices import Slices
from ciforensics.analysis.trust.workflows import Workflows
from ciforensics.wording import Result, Sentence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ciforensics.analysis.attribution.candidates import Candidates
    from ciforensics.analysis.attribution.fit import Fit
    from ciforensics.analysis.attribution.problem import Problem

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

ENOUGH = 500
"""Requests with a key that a check takes."""

_SHOWN, _PER_BIN = 100, 25  # requests with a key that are worth a picture, and a bin of it
# Measured: where keyed requests were 0.5 and 1.1 points off, putting that right made the others worse, from
# 0.4 to 0.6 and from 5.2 to 5.8 points. The bound was set by those fleets and tried on no others.
_WORTH = 0.02
_FOLDS = 5
_BINS = 10
_LEAST = 1e-6  # probability of what was said to be impossible and is so
_LOG_TEMPERATURES = (-1.6, 1.6)
_SCHEMA = {
    "predicted": pl.Float64,
    "observed": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "requests": pl.Int64,
    "recalibrated": pl.Boolean,
}


@dataclass(frozen=True, eq=False, repr=False)
class Calibration(Result):
    """How far probabilities can be trusted.

    Attributes:
        pins: requests whose run a key names, and a build of that run could have sent them.
        temperature: what log odds are to be divided by (see `temper`); 1: as they are.
        ece: expected calibration error of the likeliest workflow's probability, recalibrated if that helps;
            None without a check.
        ece_before: the same, of the probabilities as the model says them.
        reliability: of 100 keyed requests or more, in up to ten bins of as many `requests` the likeliest
            workflow's probability (`predicted`) and how often it was the right one (`observed`, with a 95 %
            interval from `low` to `high`), before and, if that helps, after (`recalibrated`).
        verdict: a sentence.
    """

    pins: int
    temperature: float
    ece: float | None
    ece_before: float | None
    reliability: pl.DataFrame
    verdict: str

    def _said(self) -> tuple[Sentence]:
        return (Sentence(f"The probabilities are {self.verdict}.", "sentence"),)


def calibrate(candidates: Candidates) -> Calibration:
    """Predicts the requests whose run a key names without their keys, a fifth at a time.

    A fifth is every fifth slice of time, longer than the window, so that no build is in two of them but at
    the seams. Requests whose run has no build in the window do not count. Probabilities that are less than
    two points off stay as they are: what keys cannot check is not known any better.

    Args:
        candidates: requests, builds and keys.

    Example:
        >>> import ciforensics as ci
        >>> from ciforensics.analysis.attribution.candidates import gather
        >>> calibrate(gather(ci.connect(), build_window_s=320, offset_s=0, observer=None)).temperature
        1.0
    """
    slices, workflows = Slices.of(candidates), Workflows.of(candidates)
    known = _truth(candidates.problem, workflows) != workflows.nobody
    pins = int(known.sum())
    unchecked = Calibration(pins, 1.0, None, None, pl.DataFrame(schema=_SCHEMA), "")
    few = (
        f"calibrated only if the model holds: {pins:,} of the {ENOUGH} requests with a key that a check takes"
    )
    if pins < _SHOWN:
        return replace(unchecked, verdict=few)
    fold = slices.at(slices.asked) % _FOLDS
    if slices.count < _FOLDS:
        told = (
            f"{pins:,} requests with a key, but in fewer than {_FOLDS} slices of time, longer than the window"
        )
        return replace(unchecked, verdict=f"calibrated only if the model holds: {told}")
    guesses = [_guessed(candidates, workflows, known & (fold == nth)) for nth in range(_FOLDS)]
    every = Guesses.of(guesses)
    if pins < ENOUGH:
        before = _reliability(every)
        return Calibration(pins, 1.0, _ece(before), _ece(before), before, few)
    cooled = Guesses.of(
        [
            each.temper(Guesses.of(guesses[:nth] + guesses[nth + 1 :]).temperature())
            for nth, each in enumerate(guesses)
        ]
    )
    before, after = _reliability(every), _reliability(cooled)
    ece_before, ece_after = _ece(before), _ece(after)
    if ece_before > _WORTH and cooled.loss() < every.loss():
        temperature = every.temperature()
        rows = pl.concat([before, after.with_columns(recalibrated=True)])
        told = f"as recalibrated (temperature {temperature:.2f}; before it {100 * ece_before:.1f} points off)"
        return Calibration(pins, temperature, ece_after, ece_before, rows, _verdict(after, told))
    return Calibration(pins, 1.0, ece_before, ece_before, before, _verdict(before, "as the model says them"))


def temper(candidates: Candidates, fit: Fit, temperature: float) -> Fit:
    """Divides the log odds of each workflow by a temperature; what a key names, or nobody sent, stays.

    Above 1 all become less sure. A workflow's builds share its probability as before, so it does not matter
    how many they are.

    Args:
        candidates: what the fit is of.
        fit: a fit.
        temperature: above 0.
    """
    sent, of_edge = _sent(candidates.problem, fit, Workflows.of(candidates))
    ratio = sent.temper(temperature).probability / np.maximum(sent.probability, 1e-300)
    probability = fit.posterior.probability * ratio[of_edge]
    return replace(fit, posterior=replace(fit.posterior, probability=probability))


@dataclass(frozen=True, eq=False)
class Guesses:
    """Workflows that could have sent requests, a row for each request and workflow.

    Attributes:
        request: number of the request; sorted.
        workflow: the workflow.
        probability: that it sent the request; those of a request sum to 1.
        right: whether it did, where that is known.
    """

    request: Ints
    workflow: Ints
    probability: Floats
    right: NDArray[np.bool_]

    @classmethod
    def of(cls, parts: list[Guesses]) -> Guesses:
        """Several as one."""
        begins = np.cumsum([0, *(part.requests for part in parts)])
        return cls(
            np.concatenate([part.request + begin for part, begin in zip(parts, begins, strict=False)]),
            np.concatenate([part.workflow for part in parts]),
            np.concatenate([part.probability for part in parts]),
            np.concatenate([part.right for part in parts]),
        )

    @property
    def requests(self) -> int:
        """One more than the last request's number."""
        return int(self.request[-1]) + 1 if len(self.request) else 0

    def temper(self, temperature: float) -> Guesses:
        """The same with log odds divided by a temperature."""
        power = self.probability ** (1 / temperature)
        total = np.bincount(self.request, power, self.requests)
        return replace(self, probability=power / np.maximum(total, 1e-300)[self.request])

    def loss(self) -> float:
        """Log loss of all requests, over each workflow being right or not."""
        said = np.where(self.right, self.probability, 1 - self.probability)
        return float(-np.log(said.clip(_LEAST, 1)).sum())

    def temperature(self) -> float:
        """The temperature of the least loss."""
        best = minimize_scalar(
            lambda log: self.temper(float(np.exp(log))).loss(), bounds=_LOG_TEMPERATURES, method="bounded"
        )
        return float(np.exp(best.x))


def _sent(problem: Problem, fit: Fit, workflows: Workflows) -> tuple[Guesses, Ints]:
    """Which workflow sent each request, if a known build did; and for each edge of the fit its row."""
    request = problem.edges.request[fit.posterior.edge].astype(np.int64)
    keys, row = np.unique(
        request * len(workflows.names) + workflows.of_build[problem.edges.build[fit.posterior.edge]],
        return_inverse=True,
    )
    of_request, workflow = np.divmod(keys, len(workflows.names))
    probability = summed(row, fit.posterior.probability, len(keys))
    sent = Guesses(of_request, workflow, probability, np.zeros(len(keys), dtype=bool))
    return sent.temper(1.0), row


def _truth(problem: Problem, workflows: Workflows) -> Ints:
    """The workflow of the builds that a request with a key has edges to; nobody without."""
    truth = np.full(len(problem.requests.shard), workflows.nobody)
    of_pin = problem.requests.keyed[problem.edges.request]
    truth[problem.edges.request[of_pin]] = workflows.of_build[problem.edges.build[of_pin]]
    return truth


def _guessed(candidates: Candidates, workflows: Workflows, which: NDArray[np.bool_]) -> Guesses:
    """What a fit says of these requests that does not know their keys."""
    apart = hide_keys(candidates, which).problem
    sent, _ = _sent(apart, fit_model(apart), workflows)
    of_these = which[sent.request]
    request, workflow = sent.request[of_these], sent.workflow[of_these]
    right = workflow == _truth(candidates.problem, workflows)[request]
    return Guesses(request, workflow, sent.probability[of_these], right)


def _reliability(guesses: Guesses) -> pl.DataFrame:
    """How often the likeliest workflow is the right one, in bins of equal mass by its probability."""
    rows = {"request": guesses.request, "predicted": guesses.probability, "right": guesses.right}
    top = (
        pl.DataFrame(rows)
        .sort("request", "predicted", descending=[False, True])
        .unique("request", keep="first")
    )
    count = max(1, min(_BINS, len(top) // _PER_BIN))
    bins = top.sort("predicted", "request").with_columns(bin=pl.int_range(pl.len()) * count // pl.len())
    by_bin = bins.group_by("bin").agg(
        pl.col("predicted").mean(),
        *wilson(pl.col("right").sum(), pl.len()),
        observed=pl.col("right").mean(),
        requests=pl.len().cast(pl.Int64),
        recalibrated=pl.lit(False),
    )
    return by_bin.sort("bin").select(*_SCHEMA)


def _ece(reliability: pl.DataFrame) -> float:
    """Mean distance between what was said and what was so, over requests."""
    apart = (pl.col("predicted") - pl.col("observed")).abs() * pl.col("requests") / pl.col("requests").sum()
    return float(reliability.select(apart.sum()).item())


def _verdict(reliability: pl.DataFrame, told: str) -> str:
    p, n = pl.col("predicted"), pl.col("requests")
    # Mean size of a normal deviate: bins of few requests miss by chance alone.
    by_chance = reliability.select((np.sqrt(2 / np.pi) * (p * (1 - p) / n).sqrt() * n / n.sum()).sum()).item()
    return (
        f"{100 * _ece(reliability):.1f} points off on average, where chance makes {100 * by_chance:.1f}: "
        f"{told}, on {int(reliability['requests'].sum()):,} requests with a key, predicted without it"
    )
