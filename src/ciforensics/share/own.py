"""The words that ciforensics itself writes: in sentences, notebooks, pages and SQL.

A name that is one of them (a workflow called `Release`) proves nothing when it stands in a page.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import nbformat

from ciforensics.shipped import shipped_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

_MADE_UP = ("fleet", "kits", "share")
"""Packages whose names are examples', or not shown."""


@cache
def text() -> str:
    """All of it, in small letters."""
    return "\n".join(_texts()).casefold()


@cache
def words() -> frozenset[str]:
    """Every word of it.

    Example:
        >>> "requests" in words(), "acme" in words()
        (True, False)
    """
    return frozenset(re.findall(r"\w+", text())) - {"acme"}  # whose repositories are our example


@cache
def terms() -> frozenset[str]:
    """What it writes as a text of its own, e.g. the unit of a finding or a cell of a table.

    Example:
        >>> "requests" in terms(), "ci" in terms()
        (True, False)
    """
    return frozenset(each.strip().casefold() for each in _texts())


@cache
def _texts() -> tuple[str, ...]:
    return tuple(_read())


def _read() -> Iterator[str]:
    for file in _files(resources.files("ciforensics")):
        text = file.read_text("utf-8")
        if not file.name.endswith(".py"):
            yield text
            continue
        tree = ast.parse(text)
        documentation = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in documentation
            ):
                yield node.value
    for path in sorted(shipped_folder("notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:  # type: ignore[no-untyped-call]
            yield cell.source


def _files(folder: Traversable) -> Iterator[Traversable]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir() and entry.name not in _MADE_UP:
            yield from _files(entry)
        elif entry.name.endswith((".py", ".sql", ".html", ".css", ".js")):
            yield entry
