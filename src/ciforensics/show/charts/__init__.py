"""Charts in one look: the title asks the question, units stand on the axes, the colour-blind see the colours.

A chart shows itself as a PNG (GitHub, a report and an e-mail all show that without a script or a network; in
JupyterLab it is drawn, with tooltips) and as a sentence of alternative text, made from the same numbers.
Nothing is dropped silently: what finds no room is added up as "others", with their number.
"""

from ciforensics.show.charts.attribution import clues
from ciforensics.show.charts.calibration import expected_counts, intervals, reliability
from ciforensics.show.charts.drawing import Chart
from ciforensics.show.charts.progress import event_time
from ciforensics.show.charts.quantiles import spread
from ciforensics.show.charts.ranking import ranked
from ciforensics.show.charts.times import over_time, rates, timeline

__all__ = [
    "Chart",
    "clues",
    "event_time",
    "expected_counts",
    "intervals",
    "over_time",
    "ranked",
    "rates",
    "reliability",
    "spread",
    "timeline",
]
