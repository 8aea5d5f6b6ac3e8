"""Find out which CI workflows send the 401s, and whether the cure works.

import ciforensics as ci

ci.ingest(["logs/"], case="case.duckdb")
con = ci.connect("case.duckdb")  # an ordinary DuckDB connection
ci.table(con.sql("FROM case_overview"))
ci.attribute(con).workflows
"""

from importlib import import_module
from typing import Any

from ciforensics.analysis.attribution import Attribution, attribute
from ciforensics.analysis.clocks import offsets
from ciforensics.analysis.links import Links, links
from ciforensics.analysis.partners import Partners, partners
from ciforensics.case import connect
from ciforensics.case.files import FileReport
from ciforensics.case.ingest import ingest
from ciforensics.display import headline, sentence, table
from ciforensics.errors import CiforensicsError
from ciforensics.shipped import __version__

__all__ = [
    "Attribution",
    "CiforensicsError",
    "FileReport",
    "Links",
    "Partners",
    "__version__",
    "attribute",
    "charts",
    "connect",
    "headline",
    "ingest",
    "links",
    "offsets",
    "partners",
    "sentence",
    "table",
]


def __getattr__(name: str) -> Any:
    if name == "charts":  # on first use: Altair takes longer to import than all the rest
        return import_module("ciforensics.charts")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
