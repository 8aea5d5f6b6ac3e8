"""A report read in a real browser: at a desk, on a telephone, in the dark, on paper, by keyboard, offline."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import ciforensics as ci
from browser import Browser, Tab
from ciforensics.report import write_report
from ciforensics.shipped import shipped_folder
from ciforensics.wording import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TABLE = "Keys that two sources both carry"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on the samples, made twice: the index then has trends and what changed."""
    folder = tmp_path_factory.mktemp("report")
    ci.ingest([shipped_folder("samples")], case=folder / "case.duckdb")
    write_report(folder / "case.duckdb", out=folder / "out", only=["migration"])
    write_report(folder / "case.duckdb", out=folder / "out", only=["links", "migration"])
    return folder / "out"


@pytest.fixture(scope="module")
def browser(needs: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(needs("chromium", package="chromium"), tmp_path_factory.mktemp("chromium")) as started:
        yield started


def _pages(made: Path) -> list[Path]:
    last = max((made / "runs").iterdir())
    return [made / "index.html", *sorted((last / "notebooks").glob("*.html"))]


def _page(made: Path, name: str) -> str:
    return next(path for path in _pages(made) if name in path.name).as_uri()


def _column(tab: Tab, nth: int) -> list[str]:
    """What a column of the table shows, from the top down, without the rows that are filtered out."""
    cells: list[str] = tab.run(
        f"[...{_table()}.tBodies[0].rows].filter(r => r.checkVisibility()).map(r => r.cells[{nth}].innerText)"
    )
    return cells


def _table(caption: str = TABLE) -> str:
    return f'[...document.querySelectorAll("table")].find(t => t.caption.innerText == "{caption}")'


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_complains_asks_for_anything_or_has_to_be_scrolled_sideways(
    made: Path, browser: Browser, width: int, dark: bool
) -> None:
    tab = browser.tab()
    for path in _pages(made):
        tab.open(path.as_uri(), width=width, dark=dark)
        assert tab.messages == [], path.name
        assert tab.run("innerWidth") == width  # a telephone zooms out for what is too wide
        assert tab.run("document.documentElement.scrollWidth <= innerWidth"), path.name
        paper = tab.run("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(22, 22, 22)" if dark else "rgb(255, 255, 255)"), path.name
    assert {url for url in tab.asked if not url.startswith("data:")} == {p.as_uri() for p in _pages(made)}


def test_each_picture_says_in_words_what_it_shows(made: Path, browser: Browser) -> None:
    tab = browser.tab()
    words: list[str] = []
    for path in _pages(made):
        tab.open(path.as_uri())
        words += tab.run("[...document.querySelectorAll('img')].map(picture => picture.alt)")
        assert tab.run("[...document.querySelectorAll('svg')].every(drawn => drawn.ariaLabel)"), path.name
    assert len(words) >= 4
    assert all(len(alt) > 40 for alt in words)


def test_printed_a_page_fits_the_paper(made: Path, browser: Browser) -> None:
    tab = browser.tab()
    for path in _pages(made):
        tab.open(path.as_uri(), width=680)  # a sheet of A4 between its margins, in CSS pixels
        tab.send("Emulation.setEmulatedMedia", media="print")
        wide = tab.run(
            "[...document.querySelectorAll('table, img, pre')].filter(e => e.checkVisibility())"
            ".filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.innerText)"
        )
        assert wide == [], path.name
        assert not tab.run("[...document.querySelectorAll('nav, summary')].some(e => e.checkVisibility())")
        pdf = tab.pdf()
        assert pdf.startswith(b"%PDF"), path.name
        assert 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 10, path.name


def test_with_the_keyboard_alone_one_reaches_all_that_can_be_used(made: Path, browser: Browser) -> None:
    tab = browser.tab().open(_page(made, "how-the-logs-fit"), width=390)
    tab.run("document.querySelectorAll('details').forEach(closed => closed.open = true)")
    tab.run("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    assert tab.run("document.querySelectorAll('pre[tabindex]').length") > 0
    assert tab.run("document.querySelectorAll('.scroll[tabindex]').length") > 0
    usable = "a[href], summary, th button, input, [tabindex]"
    wanted = tab.run(f"document.querySelectorAll('{usable}').length")
    seen = set()
    for _ in range(wanted + 5):
        tab.press("Tab")
        at = tab.run(f"[...document.querySelectorAll('{usable}')].indexOf(document.activeElement)")
        if at >= 0 and at not in seen:
            outline = tab.run("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", tab.run("document.activeElement.outerHTML")
            seen.add(at)
    assert len(seen) == wanted


def test_a_table_sorts_by_the_numbers_that_it_shows(made: Path, browser: Browser) -> None:
    tab = browser.tab().open(_page(made, "how-the-logs-fit"))
    came = _column(tab, 4)
    tab.run(f"{_table()}.tHead.rows[0].cells[4].querySelector('button').focus()")
    tab.press("Enter")
    down = _column(tab, 4)
    assert tab.run(f"{_table()}.tHead.rows[0].cells[4].ariaSort") == "descending"
    assert [float(share.rstrip(" %")) for share in down] == sorted(
        (float(share.rstrip(" %")) for share in came), reverse=True
    )
    tab.press(" ")
    assert tab.run(f"{_table()}.tHead.rows[0].cells[4].ariaSort") == "ascending"
    assert _column(tab, 4)[::-1] == down
    tab.press("Enter")
    assert tab.run(f"{_table()}.tHead.rows[0].cells[4].ariaSort") is None
    assert _column(tab, 4) == came


def test_what_is_not_known_comes_last_in_either_order(browser: Browser, made: Path) -> None:
    tab = browser.tab().open(_page(made, "how-the-logs-fit"))
    rows = {
        "number": ["2,310", NOTHING, "-5", "90.0 %", "1e-05"],
        "name": ["job-10", NOTHING, "job-2", "Zoe", "anna"],
        "time": ["2026-11-24 03:00", NOTHING, "2026-11-24 02:59", "2026-01-01 00:00", "2027-01-01 00:00"],
    }
    said = {
        "number": ["2,310", "90.0 %", "1e-05", "-5", NOTHING],
        "name": ["anna", "job-2", "job-10", "Zoe", NOTHING],
        "time": ["2026-01-01 00:00", "2026-11-24 02:59", "2026-11-24 03:00", "2027-01-01 00:00", NOTHING],
    }
    for kind, texts in rows.items():
        tab.run(f"""(() => {{
            const table = document.createElement("table");
            table.innerHTML = `<thead><tr><th class="{kind}">x</th></tr></thead><tbody></tbody>`;
            for (const text of {texts!r}) table.tBodies[0].insertRow().insertCell().append(text);
            document.body.append(table);
            sortable(table);
            window.made = table;
        }})()""")
        for order in (said[kind], [*said[kind][-2::-1], NOTHING]):
            tab.run("made.tHead.rows[0].cells[0].querySelector('button').click()")
            assert tab.run("[...made.tBodies[0].rows].map(row => row.innerText)") == order


def test_a_long_table_is_filtered_by_words_and_says_how_many_rows_are_left(
    made: Path, browser: Browser
) -> None:
    tab = browser.tab().open(_page(made, "how-the-logs-fit"))
    assert len(_column(tab, 0)) == 20
    tab.run(f"""document.querySelector('input[aria-label="Filter: {TABLE}"]').focus()""")
    tab.type("RUN_ID squid")
    shown = _column(tab, 0)
    assert set(shown) == {"run_id"}
    told = tab.run("document.activeElement.closest('.filter').querySelector('output').innerText")
    assert told == f"{len(shown)} of the 20 rows here"
    tab.run("document.activeElement.select()")
    tab.type("nobody is called that")
    assert _column(tab, 0) == []
    tab.run("document.activeElement.select()")
    tab.type(" ")
    assert len(_column(tab, 0)) == 20


def test_without_the_script_all_is_there_to_read(made: Path, browser: Browser) -> None:
    tab = browser.tab()
    tab.send("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(_page(made, "how-the-logs-fit"))
    assert tab.run("document.querySelectorAll('th button, .filter').length") == 0
    assert len(_column(tab, 0)) == 20
