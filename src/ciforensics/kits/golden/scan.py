"""The Dockerfiles of a tree, and who would serve the images that they are built from.

All that lies in the tree is read, also what `.gitignore` names (it can be built) and what `.dockerignore`
names (docker sends the Dockerfile all the same). Symbolic links are not followed.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

from ciforensics.errors import CiforensicsError
from ciforensics.kits.golden.dockerfiles import DockerfileError, images
from ciforensics.kits.golden.resolve import resolve_reference, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ciforensics.kits.golden.catalogue import Catalogue
    from ciforensics.kits.golden.resolve import Resolved

LARGEST = 1 << 20
"""Bytes; nobody writes a larger Dockerfile by hand."""

_NAME = re.compile(
    r"(?:(?:docker|container)file(?:[.-].+)?|.+\.(?:docker|container)file)", re.IGNORECASE | re.DOTALL
)
_NONE = re.compile(r"\.(?:docker|container)?ignore$", re.IGNORECASE)
_FULL_NAME = re.compile(r"[/:](?P<name>[^/:@\s]+/[^/:@\s]+?)(?:\.git)?/?$")


@dataclass(frozen=True, kw_only=True)
class BaseImage:
    """An image that an instruction of a Dockerfile names.

    Attributes:
        ci_repo: owner/name of the repository that the Dockerfile is in, where that is known.
        dockerfile: its path from the top of the repository, else of the scanned folder.
        line: where the instruction starts.
        stage: name or number of the stage.
        instruction: FROM; COPY and RUN only take files out of an image.
        platform: what `--platform` says.
        resolved: who would serve it.
    """

    ci_repo: str | None
    dockerfile: str
    line: int
    stage: str
    instruction: str
    platform: str | None
    resolved: Resolved

    @property
    def columns(self) -> dict[str, Any]:
        """In the names of table `base_images`."""
        own = {name: value for name, value in vars(self).items() if name != "resolved"}
        return {**own, **self.resolved.columns}


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A Dockerfile, or folder, that could not be read, and why."""

    ci_repo: str | None
    dockerfile: str
    line: int
    error: str

    @property
    def columns(self) -> dict[str, Any]:
        """As in the JSON lines."""
        return dict(vars(self))


@dataclass(frozen=True)
class _Place:
    """A folder that paths are told from, and whose repository it is."""

    top: str
    ci_repo: str | None


def scan_tree(
    tree: Path, *, catalogue: Catalogue | None = None, ci_repo: str | None = None, by_folder: bool = False
) -> Iterator[BaseImage | Unread]:
    """The images of all Dockerfiles of a tree, in the order of their paths.

    Args:
        tree: a folder, or one Dockerfile whatever it is called.
        catalogue: which images have a golden version; without one none has.
        ci_repo: owner/name of all that is found; else it is what git's remote `origin` says.
        by_folder: the tree holds repositories as owner/name; git's word goes first.

    Raises:
        CiforensicsError: there is no such tree.
    """
    top = Path(os.path.abspath(tree))  # noqa: PTH100 (`resolve` follows links, `absolute` keeps ..)
    if not os.path.exists(top):  # noqa: PTH110 (a Path's raises where a folder may not be entered)
        raise CiforensicsError(f"There is no {tree}.", hint="give a folder of Dockerfiles.")
    if not top.is_dir():
        place = _of_parents(top.parent, ci_repo)
        yield from _of_file(str(top), place, catalogue)
        return
    places = {str(top): _of_parents(top, ci_repo)}
    unread: list[OSError] = []
    for folder, folders, files in os.walk(top, onerror=unread.append):
        place = _of_folder(folder, str(top), places, ci_repo, by_folder=by_folder)
        places[folder] = place
        for error in unread:
            yield _unread(place, str(error.filename), f"cannot be read: {error.strerror}")
        unread.clear()
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in sorted(files):
            if _NAME.fullmatch(name) and not _NONE.search(name):
                yield from _of_file(os.path.join(folder, name), place, catalogue)  # noqa: PTH118
    for error in unread:
        yield _unread(places[str(top)], str(error.filename), f"cannot be read: {error.strerror}")


def json_line(image: BaseImage | Unread, ts: datetime) -> str:
    """One line of a scan, as `ciforensics ingest` reads it; `ts` is when the scan began, UTC."""
    written = ts.strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps({"ts": written, **image.columns}, separators=(",", ":"))


def scan_text(
    text: str, *, dockerfile: str, ci_repo: str | None, catalogue: Catalogue | None = None
) -> Iterator[BaseImage | Unread]:
    """The images of one Dockerfile."""
    try:
        uses = images(text)
    except DockerfileError as error:
        yield Unread(ci_repo=ci_repo, dockerfile=dockerfile, line=error.line, error=str(error))
        return
    for use in uses:
        if use.image is None:
            resolved = unknown(use.written, use.reason or "")
        else:
            resolved = replace(resolve_reference(use.image, catalogue), reference=use.written)
        yield BaseImage(
            ci_repo=ci_repo,
            dockerfile=dockerfile,
            line=use.line,
            stage=use.stage,
            instruction=use.instruction,
            platform=use.platform,
            resolved=resolved,
        )


def _of_file(path: str, place: _Place, catalogue: Catalogue | None) -> Iterator[BaseImage | Unread]:
    try:
        text = _read(path)
    except OSError as error:
        reason = "a symbolic link, which is not followed" if os.path.islink(path) else error.strerror  # noqa: PTH114
        yield _unread(place, path, f"cannot be read: {reason}")
    except ValueError as error:
        yield _unread(place, path, str(error))
    else:
        shown = _shown(path, place)
        yield from scan_text(text, dockerfile=shown, ci_repo=place.ci_repo, catalogue=catalogue)


def _read(path: str) -> str:
    """Opens what the name is, not what it links to, and does not wait for a pipe to be written."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with open(handle, "rb") as file:  # noqa: PTH123 (a handle)
        if not S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("no regular file")
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"larger than {LARGEST:,} bytes")
    return data.decode("utf-8", "replace")


def _unread(place: _Place, path: str, error: str) -> Unread:
    return Unread(ci_repo=place.ci_repo, dockerfile=_shown(path, place), line=1, error=error)


def _shown(path: str, place: _Place) -> str:
    """From the top of its place."""
    return _text(os.path.relpath(path, place.top))


def _text(name: str) -> str:
    """A name of files that is not UTF-8 is shown as far as it is."""
    return os.fsencode(name).decode("utf-8", "replace")


def _of_parents(folder: Path, ci_repo: str | None) -> _Place:
    """The repository around the scanned tree."""
    for each in (folder, *folder.parents):
        if os.path.exists(each / ".git"):  # noqa: PTH110
            return _Place(str(each), ci_repo or _origin(each / ".git"))
    return _Place(str(folder), ci_repo)


def _of_folder(
    folder: str, top: str, places: dict[str, _Place], ci_repo: str | None, *, by_folder: bool
) -> _Place:
    if folder == top:
        return places[top]
    if os.path.lexists(os.path.join(folder, ".git")):  # noqa: PTH118
        return _Place(folder, ci_repo or _origin(Path(folder, ".git")))
    inside = Path(folder).relative_to(top).parts
    if by_folder and len(inside) == 2:
        return _Place(folder, ci_repo or _text("/".join(inside)))
    return places[os.path.dirname(folder)]  # noqa: PTH120


def _origin(git: Path) -> str | None:
    """owner/name out of the URL of git's remote `origin`; nothing else of the URL, which may hold a token."""
    try:
        if git.is_file():  # a submodule or another work tree
            linked = _read(str(git)).removeprefix("gitdir:").strip()
            git = git.parent / linked
            if (git / "commondir").is_file():
                git /= _read(str(git / "commondir")).strip()
        lines = _read(str(git / "config")).splitlines()
    except (OSError, ValueError):
        return None
    section = None
    for line in map(str.strip, lines):
        key, _, value = line.partition("=")
        if line.startswith("["):
            section = line
        elif section == '[remote "origin"]' and key.strip() == "url":
            name = _FULL_NAME.search(value[:1000].strip())
            return name["name"] if name else None
    return None
