"""What the notebooks showed, as pages: HTML by our own templates, that needs neither a network nor a server.

Only the HTML of our own tables and sentences (`wording`) is taken as HTML, everything else is text. The pages
forbid themselves requests and all scripts but one, which sorts and filters tables (Content-Security-Policy).
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from ciforensics.report import runner
from ciforensics.show.findings import Finding
from ciforensics.wording import FINDINGS, MARK, visible
from ciforensics.wording.tables import LEFT, RIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbformat import NotebookNode

GENERATOR = '<meta name="generator" content="ciforensics">'
"""What marks a page as ours."""


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
    """A notebook that ran, as it is shown, and what the index says of it.

    Attributes:
        slug: the notebook's name.
        file: the name of its page's file, without the ending.
    """

    slug: str
    file: str
    question: str
    headline: str
    cells: Sequence[Cell]
    findings: Sequence[Finding] = ()
    error: str = ""


def make_pages(ran: Sequence[runner.Ran]) -> list[Page]:
    """What the notebooks of a report showed; where one names another's *question*, it leads there."""
    questions = {_question(each): f"{each.page}.html" for each in ran}
    return [make_page(each, questions) for each in ran]


def make_page(ran: runner.Ran, questions: Mapping[str, str]) -> Page:
    """What a notebook that ran showed.

    Args:
        ran: the notebook.
        questions: where each question of the report is answered.
    """
    outputs = [output for cell in ran.notebook.cells for output in cell.get("outputs", [])]
    marks = [(output.get("metadata", {}), output) for output in outputs]
    headlines = [output.data["text/plain"] for mark, output in marks if mark.get(MARK) == "headline"]
    question = _question(ran)
    return Page(
        slug=ran.slug,
        file=ran.page,
        question=question,
        headline=visible(" ".join(headlines)),
        cells=_cells(ran.notebook, questions),
        findings=tuple(
            Finding(**{**finding, "question": question, "notebook": ran.slug})
            for mark, _ in marks
            for finding in mark.get(FINDINGS, ())
        ),
        error=visible(str(ran.error), keep="\n") if ran.error else "",
    )


def _question(ran: runner.Ran) -> str:
    """A notebook's heading, else its name."""
    markdown = [cell.source for cell in ran.notebook.cells if cell.cell_type == "markdown"]
    heading = re.search(r"^#\s+(.+?)\s*$", "\n".join(markdown), re.MULTILINE)
    return re.sub(r"[`*]", "", heading[1]) if heading else ran.slug


def environment() -> jinja2.Environment:
    """The templates, with the style, the script and the policy that allows just these two."""
    folder = Path(__file__).parent / "template"
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    style, script = ((folder / name).read_text("utf-8") for name in ("style.css", "tables.js"))
    allowed = (f"style-src '{_digest(style)}'", f"script-src '{_digest(script)}'")
    policy = "; ".join(
        ("default-src 'none'", "img-src data:", *allowed, "base-uri 'none'", "form-action 'none'")
    )
    ours = {"style": style, "script": script, "policy": policy, "generator": GENERATOR}
    templates.globals |= {name: Markup(text) for name, text in ours.items()}  # noqa: S704 (nothing from a log)
    return templates


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def write(pages: Sequence[Page], ran: Sequence[runner.Ran], folder: Path, banner: str) -> None:
    """Writes each page, and the notebook behind it.

    Args:
        pages: the pages in their order.
        ran: what was run, in the same order.
        folder: where to; made here.
        banner: what holds for all pages, e.g. a range of time; may be empty.
    """
    folder.mkdir(parents=True)
    template = environment().get_template("page.html")
    for page, behind, before, after in zip(pages, ran, [None, *pages], [*pages[1:], None], strict=False):
        text = template.render(page=page, before=before, after=after, banner=banner)
        (folder / f"{page.file}.html").write_text(text, "utf-8")
        runner.write(behind.notebook, folder / f"{page.file}.ipynb")


def _cells(notebook: NotebookNode, questions: Mapping[str, str]) -> list[Cell]:
    prose = MarkdownWithMath(_Prose(questions))
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
        return Output(_plain(f"{output.ename}: {output.evalue}"))
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
    """HTML that `wording` or `_Prose` made, and so escaped."""
    # Alignment becomes a class: the policy forbids style attributes, which JupyterLab and GitHub need.
    return Markup(text.replace(RIGHT, ' class="number"').replace(LEFT, ""))  # noqa: S704


class _Prose(IPythonRenderer):
    """Markdown cells: raw HTML is text, nothing is loaded, links between notebooks lead to their pages."""

    def __init__(self, questions: Mapping[str, str]) -> None:
        super().__init__(escape=True, allow_harmful_protocols=False, exclude_anchor_links=True)
        self._questions = questions

    def emphasis(self, text: str) -> str:
        page = self._questions.get(html.unescape(text))
        return self.link(text, page) if page else str(super().emphasis(text))

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return self.link(text or html.escape(url), url, title)

    def link(self, text: str, url: str, title: str | None = None) -> str:
        page = re.sub(r"^([\w.-]+)\.ipynb$", r"\1.html", url)
        return str(super().link(text, page, title))

    def block_code(self, code: str, info: str | None = None) -> str:
        del info  # nbconvert would write a mermaid block out as it stands
        return f"<pre><code>{html.escape(code)}</code></pre>\n"
