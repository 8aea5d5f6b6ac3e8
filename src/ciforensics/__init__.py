"""Find out which CI workflows send the 401s, and whether the cure works.

    import ciforensics as ci

    ci.ingest(["logs/"], case="case.duckdb")
    con = ci.connect("case.duckdb")  # an ordinary DuckDB connection
    con.sql("FROM files")
"""

from ciforensics.case import connect
from ciforensics.errors import CiforensicsError
from ciforensics.ingest import FileReport, ingest
from ciforensics.shipped import __version__

__all__ = ["CiforensicsError", "FileReport", "__version__", "connect", "ingest"]
