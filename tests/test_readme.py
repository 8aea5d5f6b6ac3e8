"""What the README shows is what the samples give."""

from __future__ import annotations

import base64
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from ciforensics.cli import app
from ciforensics.report.plan import read_notebook
from ciforensics.tables import EVIDENCE

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


def test_its_table_of_logs_has_every_table_that_logs_become() -> None:
    becomes = README.partition("| log | what it is | becomes |")[2].partition("\n\n")[0]
    named = re.findall(r"`(\w+)`", " ".join(row.split("|")[-2] for row in becomes.splitlines() if row))
    assert {table.name for table in EVIDENCE} == set(named), "see the README's table of logs"


def test_its_picture_is_that_of_the_attribution_notebook() -> None:
    [name] = re.findall(r"!\[.*?\]\((.*?)\)", README)
    pictures = [data.get("image/png", "") for data in shown("attribution")]
    assert (ROOT / name).read_bytes() in [base64.b64decode(picture) for picture in pictures]


def test_the_files_and_folders_that_it_names_are_there() -> None:
    linked = [name for name in re.findall(r"\]\(([^)]*)\)", README) if "://" not in name]
    named = re.findall(r"`((?:src|notebooks|benchmarks|\.ci)[\w/.-]*)`", README)
    assert len(linked + named) > 8
    assert [name for name in linked + named if not (ROOT / name).exists()] == []


PROGRAM: Any = get_command(app)
COMMANDS = [
    words[1:]
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if (words := shlex.split(line, comments=True)) and words[0] == "ciforensics"
]
_PROSE = re.sub(r"```.*?```", "", README, flags=re.DOTALL).replace("\n", " ")
INLINE = [
    [*shlex.split(text), "value"]  # for an option at the end
    for text in re.findall(r"`(?:ciforensics )?([^`]+)`", _PROSE)
    if text.split()[0] in PROGRAM.commands and " " in text
]
LONG = {"report", "lab", "simulate", "score", "stream-events"}
"""What takes a minute or a browser, and is run by other tests."""


def _check_words(command: Any, words: list[str]) -> None:
    """Raises where there is no such command or option."""
    context = command.context_class(command, **command.context_settings)
    _, rest, _ = command.make_parser(context).parse_args([*words])
    if hasattr(command, "commands") and rest:
        assert rest[0] in command.commands, f"there is no command {rest[0]}"
        _check_words(command.commands[rest[0]], rest[1:])


@pytest.mark.parametrize("words", COMMANDS + INLINE, ids=" ".join)
def test_each_command_and_option_that_it_names_is_there(words: list[str]) -> None:
    _check_words(PROGRAM, words)


def _options(command: Any) -> set[str]:
    inner = getattr(command, "commands", {}).values()
    return {name for each in command.params for name in each.opts}.union(*map(_options, inner))


def test_options_that_it_names_alone_are_there() -> None:
    named = {text.split()[0] for text in re.findall(r"`(--[^`]+)`", _PROSE)}
    assert named - _options(PROGRAM) <= {"--help"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where its examples begin: logs, and repositories with Dockerfiles."""
    made = tmp_path_factory.mktemp("examples")
    shutil.copytree(ROOT / "data" / "samples", made / "LOGS")
    shutil.copytree(ROOT / "data" / "samples", made / "logs")
    (made / "REPOS").mkdir()
    (made / "REPOS" / "Dockerfile").write_text("FROM golang:1.24-bookworm\n")
    shutil.copyfile(ROOT / "src/ciforensics/kits/golden_images/catalogue.yaml", made / "catalogue.yaml")
    return made


def test_its_commands_run_on_the_samples(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    ran = [words for words in COMMANDS if not LONG & set(words) and "verify" not in words]
    assert len(ran) > 8
    for words in ran:
        if "fleet" not in " ".join(words):
            done = CliRunner().invoke(app, words)
            assert done.exit_code == 0, (words, done.output, done.exception)


def test_its_python_runs_on_the_samples(folder: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=folder, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
