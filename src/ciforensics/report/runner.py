"""Runs copies of notebooks on a case, with papermill, in the Python that runs us."""

from __future__ import annotations

import difflib
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import papermill  # type: ignore[import-untyped]
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_event_loop
from papermill.exceptions import PapermillExecutionError, strip_color  # type: ignore[import-untyped]

from ciforensics.errors import CiforensicsError
from ciforensics.wording import cut, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_AT_ONCE = 2
_PAPERMILLS = {"papermill-error-cell-tag"}
# What papermill logs of a notebook that we stop would land on stderr; who configures logging still gets it.
logging.getLogger("papermill").addHandler(logging.NullHandler())
# A traceback names folders of this machine.
_FOLDERS = re.compile(r"(?<![\w:/.])(?:/[\w.@+-]+)+/")
_TRUE, _FALSE = {"true", "yes", "1"}, {"false", "no", "0"}


@dataclass(frozen=True)
class Task:
    """One notebook to run, and the parameters to run it with."""

    name: str
    notebook: nbformat.NotebookNode
    parameters: Mapping[str, str | int | float | bool]


def plan(folder: Path, *, only: Sequence[str], parameters: Mapping[str, str], case: str) -> list[Task]:
    """Chooses the notebooks and fits the parameters to them, before anything runs.

    Args:
        folder: where the notebooks are.
        only: beginnings of their names; none: all.
        parameters: values as text.
        case: the value of their parameter `case`.

    Raises:
        CiforensicsError: there is no such notebook or parameter, or a value does not fit.
    """
    paths = sorted(folder.glob("*.ipynb"))
    names = ", ".join(path.stem for path in paths)
    for start in only:
        if not any(path.name.startswith(start) for path in paths):
            raise CiforensicsError(f"No notebook is called {start}….", hint=f"there are {names or 'none'}.")
    chosen = [path for path in paths if not only or path.name.startswith(tuple(only))]
    notebooks = {path.stem: _read(path) for path in chosen}
    known = {name: papermill.inspect_notebook(notebook) for name, notebook in notebooks.items()}
    _check_names(parameters, {name for each in known.values() for name in each})
    return [
        Task(
            name,
            notebook,
            {
                **({"case": case} if "case" in known[name] else {}),
                **{p: _fitted(value, known[name][p]) for p, value in parameters.items() if p in known[name]},
            },
        )
        for name, notebook in notebooks.items()
    ]


@dataclass(frozen=True)
class Ran:
    """A notebook that was run: with its outputs, up to the cell that failed if one did.

    Attributes:
        notebook: what was run.
        error: what went wrong; None: nothing.
    """

    notebook: nbformat.NotebookNode
    error: CiforensicsError | None = None


def run(tasks: Sequence[Task], *, room: Path, work: Path, progress: Callable[[str], None]) -> dict[str, Ran]:
    """Runs the notebooks, two at a time; one that fails does not stop the others.

    Args:
        tasks: what to run.
        room: the folder they run in, which has the case.
        work: an empty folder for what is needed meanwhile.
        progress: called with a line of text when a notebook starts and ends.
    """
    work.mkdir()
    kernels: list[AsyncKernelManager] = []
    done: dict[str, Ran] = {}
    # Sockets, not TCP ports, which everyone on the machine could read; their paths must be short.
    sockets = Path(tempfile.mkdtemp(prefix="ci-"))
    python = _this_python(work / "ipython", sockets, kernels)
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        running = {pool.submit(_run, task, python, room, work, progress): task.name for task in tasks}
        pending = set(running)
        while pending:
            # polars takes SIGINT with SA_RESTART: a wait without a timeout would sleep through Ctrl-C.
            finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in finished:
                done[running[future]] = future.result()
    finally:
        # After Ctrl-C the others would run on for nothing, and we would wait for them.
        pool.shutdown(wait=False, cancel_futures=True)
        for kernel in kernels:
            _kill(kernel)
        pool.shutdown()
        shutil.rmtree(sockets, ignore_errors=True)
    return {task.name: done[task.name] for task in tasks}


def _run(
    task: Task, python: type[AsyncKernelManager], room: Path, work: Path, progress: Callable[[str], None]
) -> Ran:
    progress(f"{task.name} …")
    start = time.monotonic()
    error = None
    try:
        ran = papermill.execute_notebook(
            task.notebook,
            str(work / f"{task.name}.ipynb").translate(
                {ord("{"): "{{", ord("}"): "}}"}
            ),  # papermill formats paths
            dict(task.parameters),
            kernel_name="python3",
            kernel_manager_class=python,
            resources={"metadata": {"path": str(room)}},
            progress_bar=False,
            record_timing=False,
            shutdown_kernel="immediate",
        )
    except (PapermillExecutionError, RuntimeError) as raised:
        error = _failure(task.name, raised)
        written = work / f"{task.name}.ipynb"
        ran = _read(written) if written.exists() else task.notebook
    finally:
        ensure_event_loop().close()  # jupyter_core makes one a thread, and leaves it open
    progress(f"{task.name} {'failed' if error else 'done'} in {time.monotonic() - start:.1f} s")
    return Ran(_settled(ran), error)


def _this_python(ipython: Path, sockets: Path, started: list[AsyncKernelManager]) -> type[AsyncKernelManager]:
    """A kernel manager for this interpreter: the kernel called `python3` may be another's.

    The kernel reads no IPython profile of the user's, and those that it starts are noted in `started`.
    """
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    # In JupyterLab charts are drawn; a report made there holds pictures as any other.
    env = {"IPYTHONDIR": str(ipython), "JPY_SESSION_NAME": ""}
    spec = KernelSpec(argv=argv, language="python", display_name="Python 3", env=env)

    numbers = count()

    class ThisPython(AsyncKernelManager):
        def __init__(self, **options: Any) -> None:
            connection = str(sockets / f"{next(numbers)}.json")
            super().__init__(transport="ipc", connection_file=connection, **options)
            started.append(self)

        @property
        def kernel_spec(self) -> KernelSpec:
            return spec

    return ThisPython


def _kill(kernel: AsyncKernelManager) -> None:
    process = getattr(kernel.provisioner, "process", None)
    if process is not None:
        process.kill()


def pin(case: Path, link: Path) -> None:
    """Gives the case, as it is now, a second name; an ingest puts another file in its place."""
    try:
        os.link(case, link)
    except OSError:  # another file system, or one without links
        shutil.copyfile(case, link)


def _settled(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Takes out what papermill notes of the machine and the clock; what is left is the same in every run."""
    parameters = notebook.metadata.get("papermill", {}).get("parameters", {})
    notebook.metadata["papermill"] = {"parameters": parameters}
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                output.traceback = [_FOLDERS.sub("…/", line) for line in output.traceback]
    # Papermill puts cells of its own around one that failed.
    notebook.cells = [cell for cell in notebook.cells if not _PAPERMILLS & set(cell.metadata.get("tags", ()))]
    for number, cell in enumerate(notebook.cells):
        cell.metadata.pop("papermill", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = f"parameters-{number}"
    return notebook


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Writes a notebook into a file."""
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]


def _read(path: Path) -> nbformat.NotebookNode:
    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def _failure(name: str, error: Exception) -> CiforensicsError:
    look = "the report's page of it shows how far it came."
    if not isinstance(error, PapermillExecutionError):
        return CiforensicsError(
            f"Notebook {name} lost its Python: {visible(str(error))}",
            hint=f"was there enough memory? {look.capitalize()}",
        )
    fact, _, hint = str(error.evalue).partition("\nHint: ")
    said = visible(cut(strip_color(fact), 300))
    where = f"Notebook {name} failed in cell {error.exec_count}"
    return CiforensicsError(f"{where}: {error.ename}: {said}", hint=visible(hint) or look)


def _check_names(parameters: Mapping[str, str], known: set[str]) -> None:
    free = known - {"case"}
    for name in parameters:
        if name not in free:
            near = difflib.get_close_matches(name, free, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(free)) or 'none'}."
            raise CiforensicsError(f"No notebook that would run has a parameter {name}.", hint=hint)


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
