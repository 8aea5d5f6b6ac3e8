"""A case with a single log still gives a whole report, in which the other notebooks say what they lack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient
from papermill.iorw import load_notebook_node  # type: ignore[import-untyped]
from papermill.parameterize import parameterize_notebook  # type: ignore[import-untyped]

import ciforensics as ci
from ciforensics.report import pages, runner
from ciforensics.report.plan import slug_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_client.manager import KernelManager

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "data" / "samples"
AGAIN = {"truth.csv", "docker-wrapper.1.jsonl.gz", "github-support-morning.csv"}
LOGS = sorted(path.name for path in SAMPLES.iterdir() if path.suffix != ".md" and path.name not in AGAIN)


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelManager]:
    """One for all notebooks: to start one for each takes longer than they do."""
    manager, client = start_new_kernel(kernel_name="python3")
    client.stop_channels()
    yield manager
    manager.shutdown_kernel(now=True)


@pytest.mark.parametrize("log", LOGS)
def test_one_log_gives_a_whole_report_that_says_what_is_missing(
    log: str, kernel: KernelManager, tmp_path: Path
) -> None:
    case = tmp_path / "case.duckdb"
    ci.ingest([SAMPLES / log], case=case)
    with ci.connect(case) as con:
        lacking = con.sql("SELECT notebook, missing FROM answerable WHERE answer = 'no'").fetchall()
    assert lacking, "one log does not answer everything"
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = parameterize_notebook(load_notebook_node(str(path)), {"case": str(case)})
        client = NotebookClient(notebook, km=kernel)
        client.execute(cleanup_kc=False)
        assert client.kc
        client.kc.stop_channels()
        page = pages.make_page(runner.Ran(slug_of(notebook, path.stem), path.stem, notebook), {})
        assert page.headline, path.stem
        assert "nan" not in page.headline.split(), page.headline
        shown = "\n".join(output.text for cell in page.cells for output in cell.outputs)
        for slug, missing in lacking:
            assert page.slug != slug or missing in shown, f"{slug} does not show what answerable says of it"
