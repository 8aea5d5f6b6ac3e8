"""What the fixture `case` is: it builds a case from logs given as text and opens it."""

from collections.abc import Callable

import duckdb

Build = Callable[..., duckdb.DuckDBPyConnection]
