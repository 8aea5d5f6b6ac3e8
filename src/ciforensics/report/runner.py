"""Runs copies of notebooks on a case, with papermill, in the Python that runs us."""

from __future__ import annotations

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
from ciforensics.report.plan import read_notebook
from ciforensics.wording import cut, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ciforensics.report.plan import Task

_AT_ONCE = 2
# jsonschema, which Altair imports, wants a package that JupyterLab brings and that builds 38 grammars: two
# seconds of every kernel, for a format that no notebook checks (IRIs).
_LAUNCH = (
    "import sys; sys.modules['rfc3987_syntax'] = None; "
    "from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"
)
_PAPERMILLS = {"papermill-error-cell-tag"}
# What papermill logs of a notebook that we stop would land on stderr; who configures logging still gets it.
logging.getLogger("papermill").addHandler(logging.NullHandler())
# A traceback names folders of this machine.
_FOLDERS = re.compile(r"(?<![\w:/.])(?:/[\w.@+-]+)+/")


@dataclass(frozen=True)
class Ran:
    """A notebook that was run: with its outputs, up to the cell that failed if one did.

    Attributes:
        slug: its name.
        page: the name of its file, without the ending.
        notebook: what was run.
        error: what went wrong; None: nothing.
    """

    slug: str
    page: str
    notebook: nbformat.NotebookNode
    error: CiforensicsError | None = None


def run(tasks: Sequence[Task], *, room: Path, work: Path, progress: Callable[[str], None]) -> list[Ran]:
    """Runs the notebooks, two at a time; one that fails does not stop the others.

    Args:
        tasks: what to run.
        room: the folder they run in, which has the case.
        work: an empty folder for what is needed meanwhile.
        progress: called with a line of text when a notebook starts and ends.

    Returns:
        What became of each, in the order of the tasks.
    """
    work.mkdir()
    kernels: list[AsyncKernelManager] = []
    done: dict[str, Ran] = {}
    # Sockets, not TCP ports, which everyone on the machine could read; their paths must be short.
    sockets = Path(tempfile.mkdtemp(prefix="ci-"))
    python = _this_python(work / "ipython", sockets, kernels)
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        running = {pool.submit(_run, task, python, room, work, progress): task.slug for task in tasks}
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
    return [done[task.slug] for task in tasks]


def _run(
    task: Task, python: type[AsyncKernelManager], room: Path, work: Path, progress: Callable[[str], None]
) -> Ran:
    progress(f"{task.slug} …")
    start = time.monotonic()
    error = None
    try:
        ran = papermill.execute_notebook(
            task.notebook,
            str(work / f"{task.page}.ipynb").translate(
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
        error = _failure(task.slug, raised)
        written = work / f"{task.page}.ipynb"
        ran = read_notebook(written) if written.exists() else task.notebook
    finally:
        ensure_event_loop().close()  # jupyter_core makes one a thread, and leaves it open
    progress(f"{task.slug} {'failed' if error else 'done'} in {time.monotonic() - start:.1f} s")
    return Ran(task.slug, task.page, _settled(ran), error)


def _this_python(ipython: Path, sockets: Path, started: list[AsyncKernelManager]) -> type[AsyncKernelManager]:
    """A kernel manager for this interpreter: the kernel called `python3` may be another's.

    The kernel reads no IPython profile of the user's, and those that it starts are noted in `started`.
    """
    argv = [sys.executable, "-c", _LAUNCH, "-f", "{connection_file}"]
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
