"""Why a 401 is attributed as it is: the clues, and how much each weighs.

To the model a build sends a 401 with an intensity that is a product: how many 401s such builds send, which
share of them asks this URL, which share of those with this user agent, and so on; the background likewise. So
the odds of the favourite against the runner-up are a product too, and the log2 of a clue's part in it is its
**weight of evidence** in bits (Good 1950, "Probability and the Weighing of Evidence", ch. 6). Each clue is
weighed given those before it, over all builds of a workflow together, so the weights add up to the log odds.
Where probabilities are recalibrated, what that changes is the last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ciforensics.analysis.attribution.clues import Clue
from ciforensics.analysis.attribution.names import RUN, workflow_name
from ciforensics.analysis.attribution.senders import Side, find_senders
from ciforensics.analysis.links.basis import Basis
from ciforensics.errors import CiforensicsError
from ciforensics.wording import MARK, Sentence, cut, visible
from ciforensics.wording.tables import Table, show_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ciforensics.analysis.answer import Attribution
    from ciforensics.analysis.attribution.candidates import Candidates
    from ciforensics.analysis.attribution.fit import Fit

    Floats = NDArray[np.float64]

_HOUR = 3600
_ASKS = 0.5  # expected requests from which on a workflow counts as one that asks a URL
_KEYS = {
    Basis.ORCHESTRATION_ID: "its user agent carries the orchestration id {id}, of no build but {run}'s",
    Basis.ADDRESS: "its address, {address}, was held by {run} alone at that time",
    Basis.SAME_REQUEST: "another log has the same request with a key that names {run}",
}
_OUTCOMES = {
    "challenge": "are challenges",
    "refused": "were refused",
    "bad_credentials": "had bad credentials",
    "unknown": "have an unknown outcome",
}
_ELSEWHERE = {Clue.SAME_REQUEST: "what another log saw"}
"""What each clue that is a number for each edge says; the others have words of their own."""

_MISSING = {
    Clue.ACTIVITY: "that is known to send 401s",
    Clue.URL: "that is known to ask this url",
    Clue.USER_AGENT: "that is known to ask this url with this user agent",
}


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why one 401 is attributed as it is.

    Attributes:
        request: one row: `file`, `line_no`, `ts`, `url`, `user_agent`, `outcome`.
        candidates: a row for each run, most probable first: `name` (repository and workflow in one),
            `ci_repo`, `workflow`, `job`, `run_id`, `probability`, `basis`.
        clues: a row for each clue: `clue`; `weight_bits`, how far it speaks for the favourite (below 0: for
            the runner-up; one more doubles the odds; NULL: it decides alone); `detail`, the facts.
        candidate: name of the favourite.
        probability: of the favourite, all its runs together.
        runner_up: name of the next one; None: there is none.
        runner_up_probability: likewise; 0 without one.
    """

    request: pl.DataFrame
    candidates: pl.DataFrame
    clues: pl.DataFrame
    candidate: str
    probability: float
    runner_up: str | None
    runner_up_probability: float

    @property
    def odds(self) -> str:
        """Favourite and runner-up with their probabilities, in words."""
        first = f"{cut(visible(self.candidate), 60)} {_percent(self.probability)}"
        if self.runner_up is None:
            return first
        return f"{first}, then {cut(visible(self.runner_up), 60)} {_percent(self.runner_up_probability)}"

    @property
    def text(self) -> str:
        """The answer and the clue that says most for it, in a sentence."""
        file, line_no = self.request.select("file", "line_no").row(0)
        by_weight = self.clues.sort("weight_bits", descending=True, maintain_order=True)
        clue, detail = by_weight.select("clue", "detail").row(0)
        most = "What decides" if self.clues["weight_bits"][0] is None else "What says most for it"
        where = f"{cut(visible(file), 60)}, line {line_no}"
        return f"{where}: {self.odds}. {most} is the {clue}: {detail}."

    def __repr__(self) -> str:
        return f"{self.text}\n{self._table!r}"

    def _repr_html_(self) -> str:
        return Sentence(self.text, "sentence")._repr_html_() + self._table._repr_html_()

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {MARK: "explanation"}

    @property
    def _table(self) -> Table:
        bits = pl.col("weight_bits")
        no_minus_zero = pl.when(bits.abs() < 0.05).then(0.0).otherwise(bits).alias("weight_bits")
        return show_table(self.clues.with_columns(no_minus_zero), decimals=1, width=200)


def explain(attribution: Attribution, *, line_no: int, file: str | None = None) -> Explanation:
    """Says why one 401 is attributed as it is.

    Args:
        attribution: what `attribute` found.
        line_no: the line of the 401 in its file.
        file: the file's name or path; needed where several files have a 401 on that line.

    Returns:
        The candidates, and what weighs for the likeliest workflow against the next.

    Raises:
        CiforensicsError: there is no such 401, or there are several.

    Example:
        >>> import ciforensics as ci
        >>> attribution = ci.attribute(ci.connect())
        >>> line_no, path = attribution.requests.select("line_no", "path").row(0)
        >>> explain(attribution, line_no=line_no, file=path).clues.columns
        ['clue', 'weight_bits', 'detail']
    """
    asked = _located(attribution.candidates.requests, line_no, file)
    request = asked.select("file", "line_no", "ts", "url", "user_agent", "outcome")
    if asked["basis"][0] is not None:
        return _pinned(asked.with_columns(workflow_name()), request)
    senders = find_senders(attribution.candidates, attribution.fit, asked.row(0, named=True))
    candidates = (
        senders.filter(pl.col("probability") > 0)
        .group_by("name", *RUN, "basis")
        .agg(pl.col("probability").sum())
        .sort("probability", *RUN, descending=[True, *[False] * len(RUN)])
        .select("name", *RUN, "probability", "basis")
    )
    ranked = candidates.group_by("name").agg(pl.col("probability").sum())
    ranked = ranked.sort("probability", "name", descending=[True, False])
    first, *others = [Side.of(senders, *row) for row in ranked.head(2).rows()]
    if not others:
        clues = _unopposed(senders, timed=asked["ts"][0] is not None)
        return Explanation(request, candidates, clues, first.name, first.probability, None, 0.0)
    second = others[0]
    clues = _weighed(
        first,
        second,
        outcome=asked["outcome"][0],
        askers=_askers(attribution.candidates, attribution.fit, asked["url"][0]),
    )
    clues = _recalibrated(clues, first, second, temperature=attribution.calibration.temperature)
    return Explanation(
        request, candidates, clues, first.name, first.probability, second.name, second.probability
    )


def _located(requests: pl.DataFrame, line_no: int, file: str | None) -> pl.DataFrame:
    """The row of the one 401 that is meant."""
    requests = requests.with_columns(file=pl.col("path").fill_null("").str.extract(r"([^/]*)$"))
    if file is not None:
        end = pl.lit("/") + pl.col("path").fill_null("")
        of_file = requests.filter(end.str.ends_with(f"/{file}"))
        if of_file.is_empty():
            raise CiforensicsError(
                f"No 401 is from a file {visible(file)!r}.",
                hint=f"files with 401s: {_listed(requests['file']) or 'none'}.",
            )
        requests = of_file
    at_line = requests.filter(pl.col("line_no") == line_no).sort("file_id", "ts", "request")
    if at_line.is_empty():
        raise CiforensicsError(
            f"There is no 401 on line {line_no}.",
            hint=f"lines with 401s: {_listed(requests['line_no'].cast(pl.String)) or 'none'}.",
        )
    if at_line["file_id"].n_unique() > 1:
        name = "file" if at_line["file"].n_unique() == at_line["file_id"].n_unique() else "path"
        raise CiforensicsError(
            f"Several files have a 401 on line {line_no}.",
            hint=f"name one, file=…, of: {_listed(at_line[name])}.",
        )
    return at_line.head(1)


def _listed(names: pl.Series) -> str:
    known = names.unique(maintain_order=True)
    return ", ".join(visible(str(name)) for name in known.head(5)) + ", …" * (len(known) > 5)


def _pinned(asked: pl.DataFrame, request: pl.DataFrame) -> Explanation:
    """A key names the run: nothing else counts."""
    run_id, basis = asked.select("run_id", "basis").row(0)
    run = f"run {run_id}" if run_id is not None else asked["name"][0]
    workflow = pl.when(pl.any_horizontal(pl.col("ci_repo", "workflow").is_not_null())).then(pl.col("name"))
    candidates = asked.select(
        workflow.fill_null(run).alias("name"), *RUN, probability=pl.lit(1.0), basis="basis"
    )
    address, orchestration = (_shown(str(asked[name][0])) for name in ("client_ip", "orchestration_id"))
    detail = _KEYS[basis].format(run=_shown(run), address=address, id=orchestration)
    return Explanation(
        request, candidates, _clues((Clue.KEY, None, detail)), candidates["name"][0], 1.0, None, 0.0
    )


def _activity(side: Side) -> str:
    """How many 401s it sends."""
    builds, background = (
        side.senders.filter(pl.col("after_start_s").is_null() == none) for none in (False, True)
    )
    said = []
    if not background.is_empty():
        said.append(f"{_count(background[Clue.ACTIVITY].item() * _HOUR)} 401s an hour of no known build")
    if not builds.is_empty():
        each = builds.select(pl.col("sent").mean()).item()
        said.append(f"{_nearby(builds.height)}, {_count(each)} 401s a build")
    return " and ".join(said)


def _delay(side: Side) -> str:
    """How long after the start of its likeliest build the 401 came."""
    run_id, after_start_s, soon_s, late_s = side.senders.select(
        "run_id", "after_start_s", "soon_s", "late_s"
    ).row(0)
    if after_start_s is None:
        return "any time"
    run = "a build" if run_id is None else f"run {_shown(run_id)}"
    return f"{after_start_s} s into {run}, typical {soon_s} to {late_s} s"


def _weighed(first: Side, second: Side, *, outcome: str, askers: str) -> pl.DataFrame:
    """The clues between two, each weighed given those before it."""
    odds = np.log2([first.product[clue] / second.product[clue] for clue in first.product])
    its, other = first.parts, second.parts
    shares = {
        clue: (_percent(its[clue]), _percent(other[clue]))
        for clue in (Clue.URL, Clue.USER_AGENT, Clue.OUTCOME)
    }
    asking, by, ending = (f"{one} of {{}}, of the runner-up's {two}" for one, two in shares.values())
    details: dict[str, str] = {
        Clue.ACTIVITY: f"{_activity(first)}; runner-up: {_activity(second)}",
        Clue.URL: f"{asking.format('its 401s ask this url')}; {askers}",
        Clue.USER_AGENT: by.format("those are by this user agent"),
        Clue.OUTCOME: ending.format(f"those {_OUTCOMES[outcome]}"),
        Clue.DELAY: f"{_delay(first)}; runner-up: {_delay(second)}",
    }
    for clue, what in _ELSEWHERE.items():
        if clue in its:
            first_times, other_times = _count(its[clue]), _count(other[clue])
            details[clue] = (
                f"{what} is {first_times} times as likely as by chance, for the runner-up {other_times} times"
            )
    weights = np.diff(odds, prepend=0.0).tolist()
    return _clues(*((clue, weight, details[clue]) for clue, weight in zip(its, weights, strict=True)))


def _recalibrated(clues: pl.DataFrame, first: Side, second: Side, *, temperature: float) -> pl.DataFrame:
    """The clues, and last what requests with a key say of the probabilities of the others."""
    if temperature == 1:
        return clues
    weight = float(np.log2(first.probability / second.probability) - clues["weight_bits"].to_numpy().sum())
    sure = "too sure" if temperature > 1 else "not sure enough"
    detail = (
        f"the model is {sure} of requests with a key: log odds of workflows are divided by {temperature:.2f}"
    )
    return pl.concat([clues, _clues((Clue.CALIBRATION, weight, detail))])


def _unopposed(senders: pl.DataFrame, *, timed: bool) -> pl.DataFrame:
    """The clue that leaves nobody but the favourite."""
    builds = senders.drop_nulls("after_start_s")
    if not timed:
        return _clues((Clue.ACTIVITY, None, "when it came is not known, so no build is a candidate"))
    if builds.is_empty():
        return _clues((Clue.ACTIVITY, None, "no known build ran then"))
    nearby = _nearby(builds.height)
    for clue, what in _MISSING.items():
        if builds[clue].sum() == 0:
            return _clues((clue, None, f"{nearby}, but none of a workflow {what}"))
    return _clues((Clue.ACTIVITY, None, f"{nearby}, but those that are known to ask this have no name"))


def _clues(*rows: tuple[str, float | None, str]) -> pl.DataFrame:
    schema = {"clue": pl.String, "weight_bits": pl.Float64, "detail": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _askers(candidates: Candidates, fit: Fit, url: str | None) -> str:
    """How many of the workflows ask a URL."""
    shards = candidates.requests.filter(pl.col("url").eq_missing(pl.lit(url)))["shard"].unique().to_numpy()
    asks = np.isin(fit.pairs.shard, shards) & (fit.pairs.requests >= _ASKS)
    asking, known = (
        candidates.tasks["name"][fit.pairs.task[asks]].n_unique(),
        candidates.tasks["name"].n_unique(),
    )
    return f"{asking:,} of {known:,} workflows do"


def _nearby(builds: int) -> str:
    return f"{builds:,} build{'s' * (builds > 1)} nearby"


def _shown(text: str) -> str:
    return cut(visible(text), 40)


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "under 0.1 %"
    fine = share < 0.1 or share > 0.99
    return f"{share * 100:.{int(fine)}f} %".replace(".0 ", " ")


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.2g}"
