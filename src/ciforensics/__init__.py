"""Find out which CI workflows send the 401s, and whether the cure works.

import ciforensics as ci

ci.ingest(["logs/"], case="case.duckdb")
con = ci.connect("case.duckdb")  # an ordinary DuckDB connection
ci.table(con.sql("FROM case_overview"))
ci.attribute(con).workflows
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ciforensics.case import connect
from ciforensics.case.files import FileReport
from ciforensics.case.ingest import ingest
from ciforensics.display import headline, only, sentence, table
from ciforensics.errors import CiforensicsError
from ciforensics.shipped import __version__
from ciforensics.watched import finding, findings

if TYPE_CHECKING:
    from ciforensics import charts
    from ciforensics.analysis.attribution import Attribution, attribute
    from ciforensics.analysis.clocks import offsets
    from ciforensics.analysis.explain import Explanation, explain
    from ciforensics.analysis.links import Links, links
    from ciforensics.analysis.partners import Partners, partners
    from ciforensics.analysis.progress import Progress, progress

__all__ = [
    "Attribution",
    "CiforensicsError",
    "Explanation",
    "FileReport",
    "Links",
    "Partners",
    "Progress",
    "__version__",
    "attribute",
    "charts",
    "connect",
    "explain",
    "finding",
    "findings",
    "headline",
    "ingest",
    "links",
    "offsets",
    "only",
    "partners",
    "progress",
    "sentence",
    "table",
]

# On first use: SciPy and Altair take longer to import than all the rest.
_MODULES = {
    "Attribution": "ciforensics.analysis.attribution",
    "Links": "ciforensics.analysis.links",
    "Partners": "ciforensics.analysis.partners",
    "Progress": "ciforensics.analysis.progress",
    "Explanation": "ciforensics.analysis.explain",
    "attribute": "ciforensics.analysis.attribution",
    "explain": "ciforensics.analysis.explain",
    "links": "ciforensics.analysis.links",
    "offsets": "ciforensics.analysis.clocks",
    "partners": "ciforensics.analysis.partners",
    "progress": "ciforensics.analysis.progress",
}


def __getattr__(name: str) -> Any:
    if name == "charts":
        return import_module("ciforensics.charts")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
