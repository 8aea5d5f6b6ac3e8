"""A report: the notebooks, run on a case, and each as a page that needs neither a network nor a script.

`runner` runs copies of them. What they show becomes HTML by our own template; only the HTML of our own tables
and sentences (`display`) is taken as HTML, everything else is text. The pages forbid themselves scripts and
requests (Content-Security-Policy).
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import nbformat
from markupsafe import Markup
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from papermill.iorw import load_notebook_node  # type: ignore[import-untyped]
from papermill.parameterize import parameterize_notebook  # type: ignore[import-untyped]

from ciforensics.display import LEFT, MARK, RIGHT, visible
from ciforensics.errors import CiforensicsError
from ciforensics.report import runner
from ciforensics.shipped import shipped

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from nbformat import NotebookNode

_GENERATOR = '<meta name="generator" content="ciforensics">'


@dataclass(frozen=True)
class Output:
    """What one output shows: a picture with its text, HTML of our own making, or text."""

    text: str
    image: str = ""
    width: int | None = None
    html: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell: prose, or code and what it shows."""

    prose: str = ""
    code: str = ""
    outputs: Sequence[Output] = ()


@dataclass(frozen=True)
class Page:
    """A notebook that ran, as it is shown, and what the index says of it."""

    name: str
    question: str
    headline: str
    cells: Sequence[Cell]


def report(
    case: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    only: Sequence[str] = (),
    parameters: Mapping[str, str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
    notebooks: str | os.PathLike[str] | None = None,
) -> Path:
    """Runs the notebooks on a case and writes what they show as pages to read, print and pass on.

    The notebooks run in an empty folder where the case, as it is now, goes by its file name: what they write
    names no folder of this machine, and an ingest meanwhile changes nothing. An earlier report in `out` stays
    until this one is complete.

    Args:
        case: the case file.
        out: the folder to write `index.html` and `notebooks/` into.
        only: beginnings of notebook names, e.g. `02`; none: all notebooks.
        parameters: values for the notebooks' parameters, as text; each goes to every notebook that has it.
        progress: called with a line of text when a notebook starts and ends.
        notebooks: a folder of notebooks; None: those that come with ciforensics.

    Returns:
        The path of `index.html`.

    Raises:
        CiforensicsError: no such case, notebook or parameter, a value does not fit, or a notebook failed.
            Then `out` has `NAME.failed.ipynb`, with what was run of it.

    Example:
        >>> report("case.duckdb", out="out", only=["02"])  # doctest: +SKIP
        PosixPath('out/index.html')
    """
    case, out = Path(case), Path(out)
    if not case.is_file():
        raise CiforensicsError(f"No case at {case}.", hint="make one with `ciforensics ingest`.")
    plan = runner.plan(
        Path(notebooks or shipped("notebooks")), only=only, parameters=parameters or {}, case=case.name
    )
    out.mkdir(parents=True, exist_ok=True)
    _refuse_what_is_not_ours(out)
    with tempfile.TemporaryDirectory(prefix=".report-", dir=out) as scratch:
        work = Path(scratch).resolve()
        ran = runner.run(plan, case=case, work=work, keep_failed=out, progress=progress)
        made = work / "made"
        _write(ran, made / "notebooks", made / "index.html", case.name)
        # The index first: it marks the folder as a report's, should we be stopped between the two.
        (made / "index.html").replace(out / "index.html")
        if (out / "notebooks").exists():
            (out / "notebooks").rename(work / "old")
        (made / "notebooks").rename(out / "notebooks")
    for name in ran:
        (out / f"{name}.failed.ipynb").unlink(missing_ok=True)
    return out / "index.html"


def working_copy(case: str | os.PathLike[str], folder: str | os.PathLike[str]) -> list[Path]:
    """Copies the notebooks to work on, with the case filled in. Those that are already there stay.

    Args:
        case: the case file.
        folder: where the copies go; made if it is not there.

    Returns:
        The notebooks of the folder.

    Raises:
        CiforensicsError: there is no such case.
    """
    case, folder = Path(case), Path(folder)
    if not case.is_file():
        raise CiforensicsError(f"No case at {case}.", hint="make one with `ciforensics ingest`.")
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(shipped("notebooks").glob("*.ipynb")):
        if not (folder / path.name).exists():
            filled = parameterize_notebook(load_notebook_node(str(path)), {"case": str(case.resolve())})
            filled.metadata.pop("papermill", None)
            for cell in filled.cells:
                cell.metadata.pop("papermill", None)
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = [], None
            nbformat.write(filled, folder / path.name)  # type: ignore[no-untyped-call]
    return sorted(folder.glob("*.ipynb"))


def _refuse_what_is_not_ours(out: Path) -> None:
    index = out / "index.html"
    ours = index.is_file() and _GENERATOR in index.read_text("utf-8", errors="replace")
    if not ours and (index.exists() or (out / "notebooks").exists()):
        raise CiforensicsError(
            f"{out} has an index.html or notebooks that no report made, and this one would replace them.",
            hint="name another folder with `--out`.",
        )


def _write(ran: Mapping[str, NotebookNode], folder: Path, index: Path, case: str) -> None:
    folder.mkdir(parents=True)
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("ciforensics.report", "template"),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    style = (Path(__file__).parent / "template" / "style.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    ours = {"style": style, "policy": policy, "generator": _GENERATOR}
    templates.globals |= {name: Markup(text) for name, text in ours.items()}  # noqa: S704 (nothing from a log)
    pages = [_page(name, notebook) for name, notebook in ran.items()]
    for page, before, after in zip(pages, [None, *pages], [*pages[1:], None], strict=False):
        text = templates.get_template("page.html").render(page=page, before=before, after=after)
        (folder / f"{page.name}.html").write_text(text, "utf-8")
        runner.write(ran[page.name], folder / f"{page.name}.ipynb")
    index.write_text(templates.get_template("index.html").render(pages=pages, case=visible(case)), "utf-8")


def _page(name: str, notebook: NotebookNode) -> Page:
    markdown = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    headlines = [o.data["text/plain"] for o in outputs if o.get("metadata", {}).get(MARK) == "headline"]
    heading = re.search(r"^#\s+(.+?)\s*$", "\n".join(markdown), re.MULTILINE)
    return Page(
        name=name,
        question=re.sub(r"[`*]", "", heading[1]) if heading else name,
        headline=visible(" ".join(headlines)),
        cells=_cells(notebook),
    )


def _cells(notebook: NotebookNode) -> list[Cell]:
    prose = MarkdownWithMath(_Prose())
    cells: list[Cell] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cells.append(Cell(prose=_trusted(prose.render(cell.source))))
            continue
        code = _plain(cell.source)
        if (
            cells and cells[-1].code and not cells[-1].outputs
        ):  # cells that show nothing fold up with the next
            code = f"{cells.pop().code}\n\n{code}"
        cells.append(Cell(code=code, outputs=[_output(output) for output in cell.get("outputs", [])]))
    return cells


def _output(output: NotebookNode) -> Output:
    if output.output_type == "stream":
        return Output(_plain(output.text))
    if output.output_type == "error":
        return Output(_plain("\n".join(output.traceback)))
    data, metadata = output.data, output.get("metadata", {})
    text = _plain(data.get("text/plain", data.get("text/html", "")))
    if "image/png" in data:
        return Output(text, image=data["image/png"], width=metadata.get("image/png", {}).get("width"))
    if MARK in metadata and "text/html" in data:
        return Output(text, html=_trusted(data["text/html"]))
    return Output(text)


def _plain(text: str) -> str:
    return visible(text, keep="\n\t")


def _trusted(text: str) -> Markup:
    """HTML that `display` or `_Prose` made, and so escaped."""
    # Alignment becomes a class: the policy forbids style attributes, which JupyterLab and GitHub need.
    return Markup(text.replace(RIGHT, ' class="number"').replace(LEFT, ""))  # noqa: S704


class _Prose(IPythonRenderer):
    """Markdown cells: raw HTML is text, nothing is loaded, links between notebooks lead to their pages."""

    def __init__(self) -> None:
        super().__init__(escape=True, allow_harmful_protocols=False, exclude_anchor_links=True)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return self.link(text or html.escape(url), url, title)

    def link(self, text: str, url: str, title: str | None = None) -> str:
        page = re.sub(r"^([\w.-]+)\.ipynb$", r"\1.html", url)
        return str(super().link(text, page, title))

    def block_code(self, code: str, info: str | None = None) -> str:
        del info  # nbconvert would write a mermaid block out as it stands
        return f"<pre><code>{html.escape(code)}</code></pre>\n"
