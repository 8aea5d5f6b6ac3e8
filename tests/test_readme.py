"""What the README shows is what the samples give."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def shown(notebook: str) -> list[dict[str, Any]]:
    """What the cells of a notebook show; nbval holds it to what the code computes."""
    cells = nbformat.read(ROOT / "notebooks" / notebook, as_version=4).cells  # type: ignore[no-untyped-call]
    return [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]


def test_its_table_is_that_of_the_migration_notebook() -> None:
    [table] = re.findall(r"```text\n(.*?)\n```", README, re.DOTALL)
    assert table in [data.get("text/plain") for data in shown("04-how-far-is-the-migration.ipynb")]


def test_its_picture_is_that_of_the_attribution_notebook() -> None:
    [name] = re.findall(r"!\[.*?\]\((.*?)\)", README)
    pictures = [data.get("image/png", "") for data in shown("03-which-workflow-sent-them.ipynb")]
    assert (ROOT / name).read_bytes() in [base64.b64decode(picture) for picture in pictures]


def test_the_files_and_folders_that_it_names_are_there() -> None:
    linked = [name for name in re.findall(r"\]\(([^)]*)\)", README) if "://" not in name]
    named = re.findall(r"`((?:src|notebooks|benchmarks|\.ci)[\w/.-]*)`", README)
    assert len(linked + named) > 8
    assert [name for name in linked + named if not (ROOT / name).exists()] == []
