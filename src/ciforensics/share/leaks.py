"""The check before a report is shared: does a name that has a pseudonym still stand anywhere?

A name is looked for in every file, whatever the case of its letters, where no letter or digit adjoins it; in
the text as it stands and with every layer of escapes (HTML, percent, JSON) taken off.

Some names cannot be told from our own text: a workflow `CI`, a job `build`, anything of one to three letters.
Those that ciforensics and the notebooks write themselves, that the case holds as public words, or that are so
short, are looked for only where data stands alone: as the whole of a table's cell, a JSON value or a CSV
field. Even there three things prove nothing: words that the case itself shows as they are (`build`, docker's
command), those that we too write alone (`requests`, a unit) and numbers of up to five digits. Pictures are
not read: charts are drawn from the pseudonymised case.
"""

from __future__ import annotations

import csv
import html
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

import polars as pl

from ciforensics.share import own
from ciforensics.share.pack import shared_files
from ciforensics.wording import visible

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

_TEXT = {".html", ".ipynb", ".json", ".csv", ".md", ".txt", ".css", ".svg"}
_SHORT = 3
_WHOLE = 40
"""Of a longer name its beginning is looked for as well: pages cut long texts."""

_PICTURES = ("image/png", "image/jpeg")
_PICTURE = re.compile(
    r'(?:data:image/(?:png|jpeg);base64,|"image/(?:png|jpeg)": ?")(?:[A-Za-z0-9+/=\s]|\\n)*'
)
_CELL = re.compile(r"<t[dh]\b[^>]*>(.*?)</t[dh]>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
_JSON_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/]))')


class _Known(Protocol):
    """What is needed of `Pseudonyms`."""

    @property
    def spellings(self) -> frozenset[str]: ...
    @property
    def kept(self) -> frozenset[str]: ...


@dataclass(frozen=True, order=True)
class Leak:
    """A name that is still there.

    Attributes:
        file: which file, from the top of the folder.
        name: the name, or why the file could not be searched.
        near: what stands around it.
    """

    file: str
    name: str
    near: str

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.file}: {visible(self.name)!r} in {visible(self.near)!r}"


@dataclass(frozen=True)
class _Names:
    """Names in small letters, by how they are looked for; the values are the names as they were."""

    anywhere: dict[str, str]
    alone: dict[str, str]


def find_leaks(folder: str | os.PathLike[str], pseudonyms: _Known) -> list[Leak]:
    """Searches every file that would be shared for every name that has a pseudonym.

    Args:
        folder: a report's folder.
        pseudonyms: what `pseudonymise` gave.

    Returns:
        The first place of each name in each file; none: the folder can be shared.

    Example:
        >>> import tempfile
        >>> from ciforensics.share import Pseudonyms
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "index.html").write_text("<td>Globex%2FShop</td>")
        >>> known = Pseudonyms({"org-1/repo-2": "globex/shop"}, frozenset({"globex/shop"}), frozenset())
        >>> [leak.name for leak in find_leaks(folder, known)]
        ['globex/shop']
    """
    folder = Path(folder)
    names = _sorted_out(pseudonyms)
    first: dict[tuple[str, str], Leak] = {}
    for path in shared_files(folder):
        file = path.relative_to(folder).as_posix()
        for leak in _search(path, file, names):
            first.setdefault((leak.file, leak.name), leak)
    return sorted(first.values())


def _sorted_out(pseudonyms: _Known) -> _Names:
    spelt: dict[str, str] = {}
    for name in pseudonyms.spellings:
        for each in (name, visible(name)):
            low = _paired(each).casefold().strip()
            if low and not re.fullmatch(r"\d{1,5}", low):
                spelt[low] = name
                if len(low) > 2 * _WHOLE:
                    spelt[low[:_WHOLE]] = name
    kept = {word.casefold() for word in pseudonyms.kept}
    ordinary = _standing_in("\n".join((own.text(), *kept)), list(spelt))
    told_apart = {low for low in spelt if len(low) > _SHORT} - ordinary.keys()
    return _Names(
        anywhere={low: name for low, name in spelt.items() if low in told_apart},
        alone={low: name for low, name in spelt.items() if low not in told_apart | kept | own.terms()},
    )


def _standing_in(text: str, needles: list[str]) -> dict[str, str]:
    """Which of the needles stand in a text where no letter or digit adjoins them, and what is around."""
    text = _paired(text)
    near = {}
    hits = pl.Series([text]).str.extract_many(needles, overlapping=True)[0].unique() if needles else ()
    for hit in hits:
        if bounded := re.search(rf"(?<![^\W_]){re.escape(hit)}(?![^\W_])", text):
            near[hit] = text[max(bounded.start() - 30, 0) : bounded.end() + 30]
    return near


def _search(path: Path, file: str, names: _Names) -> Iterator[Leak]:
    yield from _in_text(file, "the file's name", file, names)
    if path.is_symlink():
        yield Leak(file, "a link, which is not followed", file)
    elif path.suffix == ".png":
        return
    elif path.suffix not in _TEXT:
        yield Leak(file, "a kind of file that cannot be searched", file)
    else:
        whole = path.read_text("utf-8", errors="replace")
        text = _PICTURE.sub("", whole)
        if path.suffix in {".ipynb", ".json"}:
            values = list(_values(json.loads(whole)))
            cells = [*values, *_CELL.findall("\n\n".join(values))]  # a value can hold a page
            text = "\n\n".join((text, *values))
        elif path.suffix == ".csv":
            cells = [field for row in csv.reader(whole.splitlines()) for field in row]
        else:
            cells = _CELL.findall(text)
        yield from _in_text(file, "", text, names)
        yield from _alone(file, cells, names)


def _values(node: Any) -> Iterator[str]:
    """Every text of a JSON document that is no key; pictures are left out."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for name, value in node.items():
            if name not in _PICTURES:
                yield from _values(value)
    elif isinstance(node, list):
        if node and all(isinstance(item, str) for item in node):
            yield "".join(node)  # a notebook keeps a text as a list of lines
        for item in node:
            yield from _values(item)


def _layers(text: str) -> Iterator[str]:
    """A text as it stands, then without its escapes, until there are none."""
    for _ in range(5):
        yield text
        plain = html.unescape(unquote(_JSON_ESCAPE.sub(_unescaped, text)))
        if plain == text:
            return
        text = plain


def _paired(text: str) -> str:
    """Halves of a letter that JSON spells as two escapes become one; a half on its own becomes a mark."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else escape[2]


def _in_text(file: str, near: str, text: str, names: _Names) -> Iterator[Leak]:
    for layer in _layers(text):
        for hit, around in _standing_in(layer.casefold(), list(names.anywhere)).items():
            yield Leak(file, names.anywhere[hit], near or around)


def _alone(file: str, cells: Iterable[str], names: _Names) -> Iterator[Leak]:
    for cell in cells:
        for layer in _layers(_TAG.sub("", cell)):
            low = _paired(layer).casefold().strip()
            if low in names.alone:
                yield Leak(file, names.alone[low], cell)
