"""docs/architecture.md is the plan of the house as it stands."""

from __future__ import annotations

import html
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import ciforensics

ROOT = Path(__file__).parents[1]
PACKAGE = Path(ciforensics.__file__).parent
PLAN = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def test_every_room_is_in_the_plan_and_the_plan_has_no_room_that_is_gone() -> None:
    table = PLAN.partition("## The rooms")[2].partition("\n## ")[0]
    named = {
        name.rstrip("/")
        for cell in re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(.+?)`", cell)
    }
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    assert rooms | modules <= {name.split("/")[0] for name in named}
    assert [
        name
        for name in named
        if name and not (PACKAGE / name).exists() and not (PACKAGE / "analysis" / name).exists()
    ] == []


def test_the_map_in_the_readme_shows_every_room() -> None:
    where = (ROOT / "README.md").read_text("utf-8").partition("## Where things are")[2]
    named = {name.removeprefix("src/ciforensics/") for name in re.findall(r"`([\w./]+)`", where)}
    assert {path.name for path in PACKAGE.iterdir() if any(path.glob("*.py"))} <= named


def test_the_picture_of_the_imports_is_what_the_code_imports() -> None:
    linter = Path(sys.executable).with_name("import-linter")
    drawn = subprocess.run(
        [linter, "drawgraph", "ciforensics"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    imports = re.findall(r'"\.(\w+)" ->\s+"\.(\w+)"', drawn.stdout)
    assert imports
    picture = html.unescape((ROOT / "docs" / "imports.svg").read_text("utf-8"))
    assert sorted(re.findall(r"<title>\.(\w+)->\.(\w+)</title>", picture)) == sorted(imports)


def test_no_folder_holds_more_modules_than_one_can_see_at_a_glance() -> None:
    folders = [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir())]
    crowded = {
        folder.name: len(files)
        for folder in folders
        if len(files := [*folder.glob("*.py"), *folder.glob("*.sql")]) > 15
    }
    assert crowded == {}


def test_what_docstrings_and_pages_point_to_is_there() -> None:
    texts = {
        path: path.read_text("utf-8") for path in (*PACKAGE.rglob("*.py"), *(ROOT / "docs").glob("*.md"))
    }
    gone = {
        (path.name, named)
        for path, text in texts.items()
        for named in re.findall(r"`(ciforensics(?:\.\w+)+|views/[\w/]+\.sql)`", text)
        if not (_resolves(named) if "." in named.removesuffix(".sql") else (PACKAGE / named).exists())
    }
    assert gone == set()


def _resolves(dotted: str) -> bool:
    try:
        pkgutil.resolve_name(dotted)
    except (ImportError, AttributeError):
        return False
    return True
