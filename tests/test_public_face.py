"""`import ciforensics as ci`: what a newcomer finds there."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

import pytest
from IPython.core.completer import IPCompleter, provisionalcompleter

import ciforensics as ci
from ciforensics.case import sample_case
from ciforensics.report import write_report
from ciforensics.shipped import shipped_folder

if TYPE_CHECKING:
    from pathlib import Path


def test_dir_and_tab_completion_show_the_public_names_and_nothing_else() -> None:
    rooms = [
        importlib.import_module(f"ciforensics.{each.name}") for each in pkgutil.iter_modules(ci.__path__)
    ]
    assert rooms, "an import of any room adds its name to the package"
    assert dir(ci) == sorted(ci.__all__)
    with provisionalcompleter():
        completer = IPCompleter(shell=None, namespace={"ci": ci})  # type: ignore[no-untyped-call]
        shown = {each.text for each in completer.completions("ci.", 3)}
    assert shown == {name for name in ci.__all__ if not name.startswith("_")}


@pytest.mark.parametrize("name", ci.__all__)
def test_each_public_name_is_there(name: str) -> None:
    assert getattr(ci, name) is not None


def test_one_text_does_where_a_list_is_wanted(tmp_path: Path) -> None:
    log = shipped_folder("samples") / "docker-wrapper.jsonl"
    assert ci.ingest(str(log), case=tmp_path / "text.duckdb")[0].source == "docker_wrapper"
    assert ci.ingest(log, case=tmp_path / "path.duckdb")[0].source == "docker_wrapper"
    with ci.connect() as con:
        rows = con.sql("SELECT 0.5 AS a, 0.5 AS ab")
        assert repr(ci.show_table(rows, percent="ab")) == repr(ci.show_table(rows, percent=["ab"]))
    made = write_report(sample_case(), out=tmp_path / "out", only="docker", repos="acme/payments")
    assert list(made.run.notebooks) == ["docker"]
