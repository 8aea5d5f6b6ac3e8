"""Shared by all tests: a case built from the lines that a test shows, and a home that is nobody's."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import duckdb
import pytest

import ciforensics as ci
from ciforensics.case import store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cases import Build


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real programs first: a long file at the end would be one worker's, while the others have nothing."""
    items.sort(key=lambda item: "live" not in item.path.parts)


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The redaction key and Jupyter's files go to a folder of the test run."""
    home = tmp_path_factory.mktemp("home")
    names = ("XDG_CONFIG_HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update({name: str(home / name.lower()) for name in names})
    yield
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def empty_case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case file without evidence: to copy it takes no time, to make its views half a second."""
    path = tmp_path_factory.mktemp("empty") / "case.duckdb"
    with store.writing(path):
        pass
    return path


@pytest.fixture
def case(tmp_path: Path, empty_case: Path) -> Iterator[Build]:
    """Builds a case from logs given as text: `case(csv="timestamp,…", wrapper='{"ts":…}')` opens it."""
    opened = []
    shutil.copyfile(empty_case, tmp_path / "case.duckdb")

    def build(**logs: str | bytes) -> duckdb.DuckDBPyConnection:
        folder = tmp_path / "logs"
        folder.mkdir(exist_ok=True)
        for name, content in logs.items():
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        ci.ingest([folder], case=tmp_path / "case.duckdb")
        opened.append(ci.connect(tmp_path / "case.duckdb"))
        return opened[-1]

    yield build
    for con in opened:
        con.close()


@pytest.fixture(scope="module")
def empty() -> Iterator[duckdb.DuckDBPyConnection]:
    """A case without evidence."""
    with duckdb.connect() as con:
        store.create(con)
        yield con


@pytest.fixture
def con(empty: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """The same, to put evidence into: what a test wrote is gone after it."""
    empty.execute("BEGIN")
    yield empty
    empty.execute("ROLLBACK")
