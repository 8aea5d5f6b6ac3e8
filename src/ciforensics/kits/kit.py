"""What a capture kit is: files to deploy, and the settings whose values are put into them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ciforensics.errors import CiforensicsError
from ciforensics.kits.kinds import SettingKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Only:
    """The key, and its values, under which something is wanted: `Only("sink", ("pubsub",))`."""

    key: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        """As `--set` takes it."""
        return f"{self.key}={' or '.join(self.values)}"

    def applies(self, settings: Mapping[str, Any]) -> bool:
        """Whether the key has one of these values."""
        return settings.get(self.key) in self.values


def key(meaning: str, default: Any = ..., *, only: Only | None = None) -> Any:
    """A setting of a kit.

    Args:
        meaning: what it decides, shown by `ciforensics capture list`.
        default: the text, as it would be given; none where nobody but the user can know.
        only: without which it has no effect; its value is then None.
    """
    extra: Any = {"only": only}
    return Field(default, description=meaning, json_schema_extra=extra)


def kind_of(field: FieldInfo) -> SettingKind:
    """What text a key takes."""
    alternatives = (each for part in get_args(field.annotation) for each in getattr(part, "__metadata__", ()))
    return next(each for each in (*field.metadata, *alternatives) if isinstance(each, SettingKind))


class Settings(BaseModel):
    """The keys of a kit, a field each, made by `key`; read from texts.

    A key that `only` names comes before those that depend on it. A validator of the whole raises ValueError
    with a sentence that says what does not fit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _without_effect(cls, given: dict[str, str]) -> dict[str, str | None]:
        values = {name: field.default for name, field in cls.model_fields.items()} | given
        idle = (name for name, only in cls.conditions().items() if not only.applies(values))
        return dict.fromkeys(idle) | given

    @model_validator(mode="after")
    def _nothing_in_vain(self) -> Self:
        values = dict(self)
        for name, only in self.conditions().items():
            if values[name] is not None and not only.applies(values):
                raise CiforensicsError(
                    f"{name} has no effect with {only.key}={values[only.key]}.",
                    hint=f"leave it out, or set {only}.",
                )
        return self

    @classmethod
    def conditions(cls) -> dict[str, Only]:
        """The keys that have an effect under a condition only."""
        extras: dict[str, Any] = {name: field.json_schema_extra for name, field in cls.model_fields.items()}
        return {name: extra["only"] for name, extra in extras.items() if extra["only"]}

    def more(self) -> Mapping[str, Any]:
        """What the templates see beside the values, worked out from them."""
        return {}


@dataclass(frozen=True)
class File:
    """A file of a kit: a template, unless its name ends in .py.

    Attributes:
        executable: whether it is made so.
        taken_from: where it is, if not in the kit's folder.
        only: for which settings it is written.
        each: names several things in `more` of the settings: the file is written for each, which is its
            `this`, into the folder that its `folder` says.
    """

    executable: bool = False
    taken_from: Path | None = None
    only: Only | None = None
    each: str | None = None


@dataclass(frozen=True)
class Kit:
    """Files that are deployed to capture one kind of evidence.

    Attributes:
        summary: one line: what it records, where.
        folder: where its files are; its name is the kit's.
        settings: its keys.
        files: path in the folder, and in the export, to how it is written. There is a `README.md`.
        source: the source that reads what the kit writes; None: it records nothing.
    """

    summary: str
    folder: Path
    settings: type[Settings]
    files: Mapping[str, File]
    source: str | None

    @property
    def name(self) -> str:
        """What `ciforensics capture export` takes."""
        return self.folder.name.replace("_", "-")
