"""Which notebooks run, and with which parameters: settled before anything runs.

A notebook's name is its slug, which its metadata hold; the file is named after its place in reading order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import nbformat
import papermill  # type: ignore[import-untyped]

from ciforensics.errors import CiforensicsError, suggest
from ciforensics.views import REPLACED
from ciforensics.wording import MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_TRUE, _FALSE = {"true", "yes", "1"}, {"false", "no", "0"}


@dataclass(frozen=True)
class Task:
    """One notebook to run, and the parameters to run it with.

    Attributes:
        slug: the notebook's name.
        page: the name of its file, which tells its place, without the ending.
        notebook: what to run.
        parameters: the values for it.
    """

    slug: str
    page: str
    notebook: nbformat.NotebookNode
    parameters: Mapping[str, str | int | float | bool]


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Reads a notebook from a file."""
    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def slug_of(notebook: nbformat.NotebookNode, page: str) -> str:
    """A notebook's name: the slug in its metadata, else the name of its file.

    Example:
        >>> notebook = nbformat.from_dict({"metadata": {"ciforensics": {"slug": "links"}}, "cells": []})
        >>> slug_of(notebook, "02-how-the-logs-fit-together")
        'links'
    """
    return str(notebook.metadata.get(MARK, {}).get("slug") or page)


def make_plan(
    folder: Path,
    *,
    only: Sequence[str],
    parameters: Mapping[str, str],
    case: str,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Task]:
    """Chooses the notebooks and fits the parameters to them.

    Args:
        folder: where the notebooks are; the order of the files' names is the order of the report.
        only: the notebooks' names; none: all.
        parameters: values as text.
        case: the value of their parameter `case`.
        progress: called with a line of text for a parameter that some of the notebooks do not have.

    Raises:
        CiforensicsError: there is no such notebook or parameter, or a value does not fit.
    """
    every = _read(folder)
    _check_only(only, every)
    known = {slug: papermill.inspect_notebook(each.notebook) for slug, each in every.items()}
    chosen = [task for slug, task in every.items() if not only or slug in only]
    for name in parameters:
        takers = [task.slug for task in chosen if name != "case" and name in known[task.slug]]
        if not takers:
            raise _no_parameter(name, chosen=[known[task.slug] for task in chosen], known=known)
        if len(takers) < len(chosen):
            progress(
                f"{name} is a parameter of {_listed(takers)}; the other notebooks have none of this name"
            )
    return [
        Task(
            task.slug,
            task.page,
            task.notebook,
            {
                **({"case": case} if "case" in (takes := known[task.slug]) else {}),
                **{name: _fitted(value, takes[name]) for name, value in parameters.items() if name in takes},
            },
        )
        for task in chosen
    ]


def _read(folder: Path) -> dict[str, Task]:
    tasks: dict[str, Task] = {}
    for path in sorted(folder.glob("*.ipynb")):
        notebook = read_notebook(path)
        slug = slug_of(notebook, path.stem)
        if slug in tasks:
            raise CiforensicsError(
                f"{tasks[slug].page} and {path.stem} both are the notebook {slug}.",
                hint=f"give one of them another {MARK}.slug in its metadata, or none.",
            )
        tasks[slug] = Task(slug, path.stem, notebook, {})
    return tasks


def _check_only(only: Sequence[str], tasks: Mapping[str, Task]) -> None:
    for name in only:
        if name not in tasks:
            # Once it was the beginning of a file's name.
            meant = [slug for slug, task in tasks.items() if name and task.page.startswith(name)]
            hint = suggest(name, tasks)
            if meant:
                hint = f"notebooks go by their names: write {' '.join(f'`--only {slug}`' for slug in meant)}."
            raise CiforensicsError(f"No notebook is called {name}.", hint=hint)


def _no_parameter(
    name: str,
    *,
    chosen: Sequence[Mapping[str, object]],
    known: Mapping[str, Mapping[str, object]],
) -> CiforensicsError:
    free = sorted({each for parameters in chosen for each in parameters} - {"case"})
    hint = suggest(name, free)
    if name in REPLACED:
        now = {part: [slug for slug, takes in known.items() if part in takes] for part in REPLACED[name]}
        hint = f"write {_listed([f'{p} ({_listed(slugs)})' for p, slugs in now.items() if slugs], 'or')}."
    return CiforensicsError(f"No notebook that would run has a parameter {name}.", hint=hint)


def _listed(names: Sequence[str], word: str = "and") -> str:
    return f" {word} ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""


def _fitted(value: str, parameter: Mapping[str, str]) -> str | int | float | bool:
    """A value as the parameter's annotation asks for; `007` stays text where it asks for text."""
    asked = parameter["inferred_type_name"]
    try:
        match asked:
            case "int":
                return int(value)
            case "float":
                return float(value)
            case "bool" if value.lower() in _TRUE | _FALSE:
                return value.lower() in _TRUE
            case "bool":
                raise ValueError(value)  # noqa: TRY301 (as int and float do)
    except ValueError as error:
        raise CiforensicsError(
            f"Parameter {parameter['name']} takes {asked}, not {value!r}.",
            hint=f"{parameter['help'] or 'its value in the notebook is ' + parameter['default']}.",
        ) from error
    return value
