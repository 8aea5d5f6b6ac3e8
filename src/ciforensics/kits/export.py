"""Writes a kit out, with the user's values put in, each escaped for the kind of file that it goes to.

Templates are Jinja's with marks that none of these files uses for itself: `@{ key }@` is a value, a line
`#% if sink == "file"` a statement, in files that know no such comment `@% if … %@`. A value stands for a
whole word, never inside quotes: the quotes come with it.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import shlex
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from pydantic import ValidationError

import ciforensics.kits
from ciforensics.errors import CiforensicsError, suggest
from ciforensics.kits.kinds import UNFIT
from ciforensics.kits.kit import kind_of
from ciforensics.shipped import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ciforensics.kits.kit import File, Kit, Settings


@cache
def all_kits() -> tuple[Kit, ...]:
    """Every kit, found by looking into `ciforensics.kits`.

    Example:
        >>> [kit.name for kit in all_kits()]
        ['docker-events', 'docker-wrapper', 'golden-images', 'mitmproxy', 'scheduled-report', 'squid']
    """
    names = sorted(each.name for each in pkgutil.iter_modules(ciforensics.kits.__path__) if each.ispkg)
    packages = (importlib.import_module(f"ciforensics.kits.{name}") for name in names)
    return tuple(package.KIT for package in packages if hasattr(package, "KIT"))


def export_kit(name: str, folder: Path, *, settings: Mapping[str, str]) -> list[Path]:
    """Writes a kit's files into a folder that is new or empty: all of them, or none.

    Args:
        name: the kit's, as `ciforensics capture list` shows it.
        folder: where the files go.
        settings: for each key its value as text; keys that have a default may be left out.

    Returns:
        The files, as paths below `folder`.

    Raises:
        CiforensicsError: the kit or a key is not known, a key without a default is missing, a value does not
            fit its kind or the file that it goes to, or the folder cannot be written.
    """
    kits = {each.name: each for each in all_kits()}
    if name not in kits:
        raise _unknown(name, kits, "kit")
    kit = kits[name]
    read = read_settings(kit, settings)
    values = {**dict(read), **read.more()}
    written: dict[str, tuple[str, File]] = {}
    for path, file in kit.files.items():
        if file.only and not file.only.applies(values):
            continue
        if file.each is None:
            written[path] = rendered(kit, path, values), file
            continue
        for this in values[file.each]:
            written[f"{this.folder}/{path}"] = rendered(kit, path, {**values, "this": this}), file
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise CiforensicsError(f"{folder} is there already.", hint="give a folder that is new or empty.")
    try:
        _write(written, folder)
    except OSError as error:
        raise CiforensicsError(
            f"{folder} cannot be written: {error.strerror or error}.", hint="give a folder with room in it."
        ) from error
    return [folder / path for path in written]


def _write(files: Mapping[str, tuple[str, File]], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        made = Path(scratch) / "kit"
        for path, (content, file) in files.items():
            target = made / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8", newline="\n")
            target.chmod(0o755 if file.executable else 0o644)
        if folder.exists():
            folder.rmdir()
        shutil.move(made, folder)


def read_settings(kit: Kit, settings: Mapping[str, str]) -> Settings:
    """The value of each key: as set, else its default; None where it has no effect.

    Raises:
        CiforensicsError: as `export_kit`.

    Example:
        >>> (kit,) = (each for each in all_kits() if each.name == "docker-wrapper")
        >>> dict(read_settings(kit, {"docker": "/usr/bin/docker.real"}))["docker"]
        '/usr/bin/docker.real'
    """
    try:
        return kit.settings.model_validate(dict(settings))
    except ValidationError as error:
        raise _refusal(kit, error) from error


def _refusal(kit: Kit, error: ValidationError) -> CiforensicsError:
    """What is wrong, as a sentence: the first of what is unknown, does not fit, is missing."""
    keys = kit.settings.model_fields
    wrong = {each["type"]: each for each in reversed(error.errors())}
    if unknown := wrong.get("extra_forbidden"):
        return _unknown(str(unknown["loc"][0]), keys, f"key of {kit.name}")
    if unfit := wrong.get(UNFIT):
        name, expected = unfit["loc"][0], unfit["ctx"]
        return CiforensicsError(
            f"{name}={unfit['input']!r} is not {expected['meaning']}.",
            hint=f"for instance {name}={expected['example']}.",
        )
    if misfit := wrong.get("value_error"):
        return CiforensicsError(
            str(misfit["ctx"]["error"]), hint=f"`ciforensics capture list` says what {kit.name} takes."
        )
    missing = [str(each["loc"][0]) for each in error.errors()]
    return CiforensicsError(
        f"{kit.name} cannot know {', '.join(f'{name} ({keys[name].description})' for name in missing)}.",
        hint="give " + " ".join(f"--set {name}={kind_of(keys[name]).example}" for name in missing),
    )


def _unknown(name: str, known: Iterable[str], what: str) -> CiforensicsError:
    return CiforensicsError(f"{name!r} is no {what}.", hint=suggest(name, known))


def rendered(kit: Kit, path: str, values: Mapping[str, Any]) -> str:
    """One file of a kit as it is written out.

    Raises:
        CiforensicsError: a value cannot be written into this kind of file.
    """
    text = (kit.files[path].taken_from or kit.folder / path).read_text(encoding="utf-8")
    if path.endswith(".py"):
        return text
    environment = jinja2.Environment(
        variable_start_string="@{",
        variable_end_string="}@",
        block_start_string="@%",
        block_end_string="%@",
        comment_start_string="@#",
        comment_end_string="#@",
        line_statement_prefix="#%",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: _escaped(value, path),
        autoescape=False,  # noqa: S701 (no HTML; each value is escaped by `finalize` for the file it goes to)
    )
    return environment.from_string(text).render(version=__version__, **values)


def _escaped(value: Any, path: str) -> str:
    """A value as a word of the language that this file is written in."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(f"{path}: {value!r} is no value to write")  # a mistake in a template
    suffix = Path(path).suffix or Path(path).name
    try:
        return _ESCAPES[suffix](value)
    except ValueError as error:
        raise CiforensicsError(
            f"{value!r} cannot be written into {path}, which takes {error}.", hint="choose another value."
        ) from error


def _shell(value: str | int) -> str:
    return shlex.quote(str(value))


def _json(value: str | int) -> str:
    return json.dumps(value, ensure_ascii=False)  # YAML knows no surrogate pairs


def _hcl(value: str | int) -> str:
    return _json(value).replace("${", "$${").replace("%{", "%%{")


def _github(value: str | int) -> str:
    """YAML in which GitHub evaluates `${{ … }}`."""
    return _json(value).replace("${{", "${{ '${{' }}")


def _unit(value: str | int) -> str:
    """A word of a unit file: `%` begins a specifier. ExecStart= alone knows `$`, so templates double that."""
    if re.fullmatch(r"[\w./:@+,=-]+", str(value), re.ASCII):
        return str(value)  # User= takes no quotes
    quoted = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{quoted}"'


def _schedule(value: str | int) -> str:
    """For lines that are times, where a quote would be a part of them."""
    if not re.fullmatch(r"[\w./:@+,=*~ -]+", str(value), re.ASCII):
        raise ValueError("letters, digits, spaces and ./:@+,=*~_- only")
    return str(value)


def _bare(value: str | int) -> str:
    """For languages without quotes that hold in every place: only what is plain in all of them."""
    if not re.fullmatch(r"[\w./:@+,=-]+", str(value), re.ASCII):
        raise ValueError("letters, digits and ./:@+,=_- only")
    return str(value)


_ESCAPES: dict[str, Callable[[str | int], str]] = {
    ".sh": _shell,
    ".md": _shell,  # what a reader copies from a page is a command
    ".yaml": _json,  # a string in JSON is one in YAML
    ".yml": _github,
    ".json": _json,
    ".tf": _hcl,
    ".conf": _bare,
    "Dockerfile": _bare,
    "Containerfile": _bare,
    ".service": _unit,
    ".timer": _schedule,
    "ciforensics-report": _schedule,  # a crontab
}


def described(kit: Kit) -> list[tuple[str, str, str, str]]:
    """For each key of a kit: its name, its default, which values it takes, what it decides.

    Example:
        >>> (squid,) = (each for each in all_kits() if each.name == "squid")
        >>> described(squid)[3]
        ('port', '3128', 'a whole number from 1 to 65535', 'Where the proxy listens')
    """
    conditions = kit.settings.conditions()
    return [
        (
            name,
            "(must be given)" if field.is_required() else field.default,
            kind_of(field).meaning,
            f"{field.description} (with {conditions[name]})"
            if name in conditions
            else f"{field.description}",
        )
        for name, field in kit.settings.model_fields.items()
    ]
