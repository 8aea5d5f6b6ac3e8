"""A case to pass on: every name in it becomes a pseudonym, by a keyed mapping that stays with the owner.

What changes: repositories, workflows, jobs, runs, runners, pods, nodes, namespaces, users, hosts, addresses,
images, digests, ids, file names, and every word of a free text (URLs, user agents, command lines, JSON) that
`public.toml` does not know to be public; rejected records are withheld. What stays: times (they are not
shifted), statuses, bytes, counts, ports, numbers of up to five digits, versions, public hosts and images,
well known products. So a reader who knows when something ran can still recognise it.

The same name becomes the same pseudonym in every table, run and case that is made with the same key:
`org-3f2k9z/repo-91bcw7`. The digits belong to the name, the word before them to the column: in a command
line the same repository is `name-91bcw70kd2`.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from ciforensics.case import connect, store
from ciforensics.errors import CiforensicsError
from ciforensics.formats.records import Stream
from ciforensics.share.columns import rename, rule
from ciforensics.share.leaks import Leak, find_leaks
from ciforensics.share.naming import Namer
from ciforensics.share.pack import write_zip
from ciforensics.swap import replacing

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import duckdb

__all__ = ["Leak", "Pseudonyms", "find_leaks", "pseudonymise", "write_zip"]

_NO_TEXT = ("BIGINT", "INTEGER", "SMALLINT", "DOUBLE", "BOOLEAN", "TIMESTAMP")


@dataclass(frozen=True)
class Pseudonyms:
    """Which name each pseudonym stands for.

    Attributes:
        names: pseudonym to name.
        spellings: every name, in each way that the case spells it.
        kept: public words that the case holds, as they are.
    """

    names: Mapping[str, str]
    spellings: frozenset[str]
    kept: frozenset[str]

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes `pseudonym,name` as CSV for its owner only (mode 0600): look a pseudonym up in it."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("pseudonym", "name"))
        writer.writerows(sorted(self.names.items()))
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, private=True) as new:
            new.write_text(text.getvalue(), encoding="utf-8", errors="backslashreplace")


def pseudonymise(case: str | os.PathLike[str], out: str | os.PathLike[str], *, key: bytes) -> Pseudonyms:
    """Writes a case with pseudonyms instead of names: as many rows, the same ids, times and numbers.

    It is written as a new file, since DuckDB keeps what was overwritten in a file's free blocks.

    Args:
        case: the case file.
        out: the case to write; replaced if it is there.
        key: the owner's, e.g. what `redact.load_key` gives: the same key, the same pseudonyms.

    Returns:
        What each pseudonym stands for.

    Raises:
        CiforensicsError: there is no such case, `out` is the case itself, or two names got one pseudonym.

    Example:
        >>> import tempfile
        >>> from ciforensics.case import sample_case
        >>> out = Path(tempfile.mkdtemp()) / "shared.duckdb"
        >>> pseudonyms = pseudonymise(sample_case(), out, key=b"k" * 32)
        >>> {repo.split("-")[0] for (repo,) in connect(out).sql("SELECT ci_repo FROM invocations").fetchall()}
        {'org'}
        >>> pseudonyms.names[connect(out).sql("SELECT min(node) FROM pods").fetchall()[0][0]][:8]
        'ci-node-'
    """
    case, out = Path(case), Path(out)
    connect(case).close()  # no case is refused, an older one gets this version's views
    if out.exists():
        if out.samefile(case):
            raise CiforensicsError(f"{out} is the case itself.", hint="name another file to write.")
        out.unlink()
    namer = Namer(key)
    namer.log(case.name)  # pages show what the case is called
    with store.writing(out) as copy:
        con = copy.con
        con.execute(f"ATTACH {store.quote(str(case))} AS evidence (READ_ONLY)")
        con.execute("BEGIN")
        for schema, table in _tables(con):
            _copy(con, namer, schema, table)
        con.execute("COMMIT")
        con.execute("DETACH evidence")
    return Pseudonyms(dict(namer.names), frozenset(namer.spellings), frozenset(namer.kept))


def _tables(con: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    return con.execute(
        """
        SELECT schema_name, table_name FROM duckdb_tables()
        WHERE database_name = current_database() AND NOT temporary
            AND (schema_name, table_name) <> ('store', 'meta')
        ORDER BY ALL
        """
    ).fetchall()


def _copy(con: duckdb.DuckDBPyConnection, namer: Namer, schema: str, table: str) -> None:
    """Copies a table; each distinct text is renamed once."""
    here = f'"{schema}"."{table}"'
    selected, joined = [], []
    for name, kind, *_ in con.execute(f"DESCRIBE {here}").fetchall():
        if kind in _NO_TEXT:
            selected.append(f't."{name}"')
            continue
        beside = rule(table, name).beside
        other = f't."{beside}"' if beside else "NULL::VARCHAR"
        texts = con.execute(
            f'SELECT DISTINCT t."{name}"::VARCHAR, {other} FROM evidence.{here} AS t '
            f'WHERE t."{name}" IS NOT NULL ORDER BY ALL'
        ).fetchall()
        renamed = Stream(  # noqa: F841 (DuckDB looks it up)
            pl.DataFrame(
                [(old, near, rename(namer, table, name, old, near)) for old, near in texts],
                schema={"old": pl.String, "near": pl.String, "new": pl.String},
                orient="row",
            )
        )
        con.execute(f'CREATE OR REPLACE TEMP TABLE "renamed {name}" AS FROM renamed')
        selected.append(f'"{name}".new')
        joined.append(
            f'LEFT JOIN temp."renamed {name}" AS "{name}" '
            f'ON "{name}".old = t."{name}"::VARCHAR AND "{name}".near IS NOT DISTINCT FROM {other}'
        )
    con.execute(
        f"INSERT INTO {here} SELECT {', '.join(selected)} FROM evidence.{here} AS t {' '.join(joined)} "
        "ORDER BY t.rowid"
    )
