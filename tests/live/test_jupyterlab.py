"""JupyterLab as installed, without a network: a notebook runs, its charts have tooltips, it saves."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

import nbformat
import pytest

import ciforensics as ci
from browser import Browser, Tab
from ciforensics.shipped import shipped_folder
from program import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOKEN = "only-here"
[NOTEBOOK] = [path.stem for path in shipped_folder("notebooks").glob("*-how-far-is-the-migration.ipynb")]
VEGA = "application/vnd.vegalite.v5+json"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a JupyterLab that `ciforensics lab` started, and the folder of the working copy."""
    made = tmp_path_factory.mktemp("lab")
    ci.ingest([shipped_folder("samples")], case=made / "case.duckdb")
    port = _free_port()
    options = [
        f"--port={port}", "--ServerApp.port_retries=0", "--ip=127.0.0.1", "--no-browser", "--allow-root",
        f"--IdentityProvider.token={TOKEN}", "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=",
        "--LabApp.extension_manager=readonly",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    command: list[str | Path] = [
        PROGRAM,
        "lab",
        "--case",
        made / "case.duckdb",
        "--dir",
        made / "work",
        *options,
    ]
    with (made / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60
        while not _answers(address):
            assert server.poll() is None, (made / "log").read_text()
            assert time.monotonic() < end, (made / "log").read_text()
            time.sleep(0.2)
        yield address, made / "work"
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def _answers(address: str) -> bool:
    try:
        with urlopen(f"{address}/api", timeout=5):  # noqa: S310 (loopback)
            return True
    except (URLError, ConnectionError):
        return False


def _point_at_a_bar(tab: Tab) -> str:
    """The text of the tooltip that a pointer on a bar brings up."""
    shown = ""
    end = time.monotonic() + 60
    while not shown:  # the page moves while cells below still come to show something
        assert time.monotonic() < end, "no bar has a tooltip"
        spot = tab.run("""(() => {
            const area = bar => bar.getBoundingClientRect().width * bar.getBoundingClientRect().height;
            const chart = document.querySelector(".vega-embed svg");
            const bars = [...chart.querySelectorAll(".mark-rect path")];
            const bar = bars.reduce((most, bar) => area(bar) > area(most) ? bar : most);
            bar.scrollIntoView({block: "center"});
            const box = bar.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        })()""")
        tab.hover(spot[0] - 1, spot[1])
        tab.hover(*spot)
        time.sleep(0.3)
        shown = tab.run("document.querySelector('#vg-tooltip-element.visible')?.innerText") or ""
    return shown


def test_a_working_copy_runs_in_jupyterlab_its_charts_have_tooltips_and_it_can_be_saved(
    lab: tuple[str, Path], needs: Callable[..., str], tmp_path: Path
) -> None:
    address, folder = lab
    with Browser(needs("chromium", package="chromium"), tmp_path / "profile") as browser:
        tab = browser.tab().open(f"{address}/lab/tree/{NOTEBOOK}.ipynb?token={TOKEN}")
        tab.until("window.jupyterapp?.shell?.currentWidget?.context?.isReady")
        tab.until("jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status == 'idle'")
        tab.run("jupyterapp.commands.execute('notebook:run-all-cells')")
        tab.until("document.querySelectorAll('.vega-embed svg').length > 0")
        assert "git requests per 5 minutes" in _point_at_a_bar(tab)
        tab.run("jupyterapp.commands.execute('docmanager:save')")
        asked = [url for url in tab.asked if not url.startswith((address, "data:", "blob:", "ws:"))]
    assert asked == []
    assert [message for message in tab.messages if message.startswith("WARN")] == []  # Vega's
    saved = json.loads((folder / f"{NOTEBOOK}.ipynb").read_text("utf-8"))
    nbformat.validate(saved)
    shown = [
        output["data"] for cell in saved["cells"] for output in cell.get("outputs", []) if "data" in output
    ]
    assert any({VEGA, "image/png", "text/plain"} <= data.keys() for data in shown)
