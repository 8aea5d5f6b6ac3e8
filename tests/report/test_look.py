"""The look of pages and charts: each colour stands out from what it lies on, as WCAG AA asks for."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

import ciforensics.report
from ciforensics.show.charts import drawing

STYLE = (Path(ciforensics.report.__file__).parent / "template" / "style.css").read_text("utf-8")
TEXT, GRAPHICS = 4.5, 3.0
WHITE = "#ffffff"
COLOR = re.compile(r"#[0-9a-fA-F]{6}\b")


def _schemes() -> dict[str, dict[str, str]]:
    """The custom properties of the light, the dark and the printed page."""
    light, dark, printed = (
        dict(re.findall(r"--([\w-]+): (#\w{6})", block))
        for block in re.findall(r":root \{([^}]*--[^}]*)\}", STYLE)
    )
    return {"light": light, "dark": light | dark, "print": light | printed}


def _luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_measure_is_wcags_own() -> None:
    assert _contrast("#000000", WHITE) == pytest.approx(21)
    assert _contrast("#777777", WHITE) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_text_stands_out_from_the_page_and_from_code(scheme: str) -> None:
    colors = _schemes()[scheme]
    grounds = {"paper", "soft"}
    inks = colors.keys() - grounds - {"line"}  # the lines between rows only decorate
    assert inks >= {"ink", "muted", "link"}
    for ink, ground in product(sorted(inks), sorted(grounds)):
        assert _contrast(colors[ink], colors[ground]) >= TEXT, f"{ink} on {ground}"


def test_no_colour_stands_outside_the_schemes_but_what_lies_on_both() -> None:
    """A colour that does not follow the scheme has to stand out from the light and from the dark paper."""
    fixed = set(COLOR.findall(re.sub(r":root \{[^}]*\}", "", STYLE))) - {WHITE}
    papers = [colors["paper"] for colors in _schemes().values()]
    for color, paper in product(sorted(fixed), papers):
        assert _contrast(color, paper) >= GRAPHICS, f"{color} on {paper}"


def test_marks_of_charts_stand_out_from_their_white_ground_on_a_dark_page_too() -> None:
    hues = ("BLUE", "ORANGE", "GREEN", "PINK", "SKY", "VERMILION", "GREY", "LIGHT", "INK", "MUTED")
    for hue in hues:
        assert _contrast(getattr(drawing, hue), WHITE) >= GRAPHICS, hue
    assert set(drawing.MEANINGS.values()) <= {getattr(drawing, hue) for hue in hues}
    # The picture brings its ground along; on a dark page it must be told from the paper.
    assert "background: #ffffff" in STYLE
    assert _contrast(WHITE, _schemes()["dark"]["paper"]) >= GRAPHICS


def test_the_words_in_charts_stand_out_too() -> None:
    for ink in (drawing.INK, drawing.MUTED):
        assert _contrast(ink, WHITE) >= TEXT
