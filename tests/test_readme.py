"""What the README shows is what the samples give."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

from ciforensics.report.plan import read_notebook

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def shown(slug: str) -> list[dict[str, Any]]:
    """What the cells of a notebook show; nbval holds it to what the code computes."""
    notebooks = map(read_notebook, sorted((ROOT / "notebooks").glob("*.ipynb")))
    cells = next(each.cells for each in notebooks if each.metadata.ciforensics.slug == slug)
    return [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]


def test_its_table_is_that_of_the_migration_notebook() -> None:
    [table] = re.findall(r"```text\n(.*?)\n```", README, re.DOTALL)
    assert table in [data.get("text/plain") for data in shown("migration")]


def test_its_picture_is_that_of_the_attribution_notebook() -> None:
    [name] = re.findall(r"!\[.*?\]\((.*?)\)", README)
    pictures = [data.get("image/png", "") for data in shown("attribution")]
    assert (ROOT / name).read_bytes() in [base64.b64decode(picture) for picture in pictures]


def test_the_files_and_folders_that_it_names_are_there() -> None:
    linked = [name for name in re.findall(r"\]\(([^)]*)\)", README) if "://" not in name]
    named = re.findall(r"`((?:src|notebooks|benchmarks|\.ci)[\w/.-]*)`", README)
    assert len(linked + named) > 8
    assert [name for name in linked + named if not (ROOT / name).exists()] == []
