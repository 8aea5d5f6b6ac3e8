"""Find out which CI workflows send the 401s, and whether the cure works.

import ciforensics as ci

ci.ingest("logs/", case="case.duckdb")
con = ci.connect("case.duckdb")  # an ordinary DuckDB connection
ci.show_table(con.sql("FROM case_overview"))
ci.attribute(con).workflows
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ciforensics.case import connect
from ciforensics.case.files import FileReport
from ciforensics.case.intake import ingest
from ciforensics.errors import CiforensicsError
from ciforensics.shipped import __version__
from ciforensics.show.catalogue import questions
from ciforensics.show.findings import say_finding, show_findings
from ciforensics.show.repos import keep_repos
from ciforensics.wording import say, say_headline
from ciforensics.wording.tables import show_table

if TYPE_CHECKING:
    from ciforensics.analysis.answer import Attribution, attribute
    from ciforensics.analysis.explanation import Explanation, explain
    from ciforensics.analysis.links.clocks import find_offsets
    from ciforensics.analysis.links.keys import Links, find_links
    from ciforensics.analysis.links.partners import Partners, find_partners
    from ciforensics.analysis.migration.progress import Progress, measure_progress
    from ciforensics.show import charts

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
    "find_links",
    "find_offsets",
    "find_partners",
    "ingest",
    "keep_repos",
    "measure_progress",
    "questions",
    "say",
    "say_finding",
    "say_headline",
    "show_findings",
    "show_table",
]

# On first use: SciPy and Altair take longer to import than all the rest.
_MODULES = {
    "Attribution": "analysis.answer",
    "Explanation": "analysis.explanation",
    "Links": "analysis.links.keys",
    "Partners": "analysis.links.partners",
    "Progress": "analysis.migration.progress",
    "attribute": "analysis.answer",
    "explain": "analysis.explanation",
    "find_links": "analysis.links.keys",
    "find_offsets": "analysis.links.clocks",
    "find_partners": "analysis.links.partners",
    "measure_progress": "analysis.migration.progress",
}
_RENAMED = {
    "finding": "say_finding",
    "findings": "show_findings",
    "headline": "say_headline",
    "links": "find_links",
    "offsets": "find_offsets",
    "only": "keep_repos",
    "partners": "find_partners",
    "progress": "measure_progress",
    "sentence": "say",
    "table": "show_table",
}


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    if name == "charts":
        return import_module("ciforensics.show.charts")
    if name in _MODULES:
        return getattr(import_module(f"ciforensics.{_MODULES[name]}"), name)
    hint = f"; it is now called {_RENAMED[name]}" if name in _RENAMED else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
