"""The catalogue: which base images have a golden version, for which organisations, behind which mirror.

```yaml
organisations: [acme]           # whose repositories are fetched, spelled as in the URLs that builds use
mirror: europe-docker.pkg.dev/acme-ci/mirror   # the virtual repository: LOCATION-docker.pkg.dev/PROJECT/NAME
images:                         # as a Dockerfile names them
  - golang:1.24-bookworm
  - name: debian:trixie
    git: package                # how it gets git 2.46 or newer: source (the default), package or as-is
    user: nobody                # whom the image runs as, if not root
forge: https://github.com       # what follows may be left out; these are the defaults
endpoint: http://docker-mirror.docker-mirror.svc.cluster.local:5000   # what dockerd asks; it takes no path
golden: golden-images           # the standard repository, asked first
cache: dockerhub-cache          # the remote repository in front of Docker Hub, asked next
credentials:
  secret: github_token          # id of the BuildKit secret that holds the token
  environment: GITHUB_TOKEN     # the variable that holds it where there is no such secret
```
"""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ciforensics.errors import CiforensicsError, suggest
from ciforensics.kits.kinds import UNFIT, choice, text_like

if TYPE_CHECKING:
    from pathlib import Path

_PLACE = "a repository of Artifact Registry: LOCATION-docker.pkg.dev/PROJECT/REPOSITORY"
_NAME = "[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = r"[a-z0-9.-]+(?::\d{1,5})?"
_PART = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"  # of an image's name, as distribution's grammar has it
_TAGGED = rf"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::\d{{1,5}})?/)?{_PART}(?:/{_PART})*:\w[\w.-]{{0,127}}"

_Organisation = Annotated[
    str, text_like("an organisation of the forge", "acme", "[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}")
]
_Mirror = Annotated[
    str,
    text_like(
        _PLACE,
        "europe-docker.pkg.dev/acme-ci/mirror",
        rf"[a-z0-9-]+-docker\.pkg\.dev/[a-z][a-z0-9-]+/{_NAME}",
    ),
]
_Repository = Annotated[
    str, text_like("a repository of Artifact Registry: a-z, 0-9 and -", "golden-images", _NAME)
]
# Who pins a digest goes past the golden version.
_Image = Annotated[str, text_like("an image with a tag and no digest", "golang:1.24-bookworm", _TAGGED)]
_Forge = Annotated[
    str,
    text_like("https:// and a host, with no path after it", "https://github.com", f"https://{_HOST}"),
]
_Endpoint = Annotated[
    str, text_like("a URL without a path", "http://mirror.example.com", r"https?://[\w.-]+(?::\d{1,5})?")
]
_Secret = Annotated[
    str, text_like("the id of a secret: letters, digits, ., _ and -", "github_token", r"\w[\w.-]*")
]
_Variable = Annotated[str, text_like("the name of a variable", "GITHUB_TOKEN", r"[A-Za-z_]\w*")]
_User = Annotated[str, text_like("a user, or user:group", "nobody", r"\w[\w.-]*(?::\w[\w.-]*)?")]
_Git = Annotated[str, choice("source", "package", "as-is")]

_M = TypeVar("_M", bound="_Entries")


class _Entries(BaseModel):
    """A mapping of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Image(_Entries):
    """A base image that has a golden version.

    Attributes:
        name: as a Dockerfile names it, tag included.
        git: how it gets git 2.46 or newer: `source` builds it in a stage, `package` takes the distribution's,
            `as-is` trusts the base to have it.
        user: whom it runs as, which a golden version must not change.
    """

    name: _Image
    git: _Git = "source"
    user: _User = "root"

    @model_validator(mode="before")
    @classmethod
    def _by_its_name(cls, given: Any) -> Any:
        return given if isinstance(given, dict | cls) else {"name": given}

    @property
    def mirrored(self) -> str:
        """Its name in a repository of ours: official images are under `library/`, as dockerd asks for them.

        Example:
            >>> names = ("golang:1.24", "docker.io/acme/base:1", "registry.example.com:5000/base:1")
            >>> [Image(name=name).mirrored for name in names]
            ['library/golang:1.24', 'acme/base:1', 'registry.example.com-5000/base:1']
        """
        registry, rest = self._parts()
        if registry:
            return f"{registry.replace(':', '-')}/{rest}"
        return rest if "/" in rest else f"library/{rest}"

    @property
    def hub(self) -> bool:
        """Whether it comes from Docker Hub: dockerd asks its mirror for nothing else.

        Example:
            >>> Image(name="acme/base:1").hub, Image(name="registry.example.com/base:1").hub
            (True, False)
        """
        return not self._parts()[0]

    def _parts(self) -> tuple[str, str]:
        """Registry, empty for Docker Hub, and what follows; the rule is distribution's."""
        first, slash, rest = self.name.partition("/")
        if not slash or not (set(".:") & set(first) or first == "localhost"):
            return "", self.name
        return ("" if first in {"docker.io", "index.docker.io"} else first), rest


class Credentials(_Entries):
    """Where a golden image's credential helper finds the token.

    Attributes:
        secret: id of the BuildKit secret, mounted at /run/secrets/ID.
        environment: the variable that is read where there is no such secret.
    """

    secret: _Secret = "github_token"  # noqa: S105 (the name of one)
    environment: _Variable = "GITHUB_TOKEN"


class Catalogue(_Entries):
    """What a catalogue file says.

    Attributes:
        organisations: whose repositories are fetched; git compares their case.
        mirror: the virtual repository that builds ask, without scheme.
        images: base images with a golden version.
        forge: scheme and host of the repositories.
        endpoint: the URL that dockerd asks: a proxy in front of `mirror`, as dockerd 20.10 takes no path, and
            sends a mirror no credentials (moby#30880).
        golden: name of the standard repository that holds the golden images.
        cache: name of the remote repository in front of Docker Hub.
        credentials: where the token comes from.
    """

    organisations: tuple[_Organisation, ...] = Field(min_length=1)
    mirror: _Mirror
    images: tuple[Image, ...] = Field(min_length=1)
    forge: _Forge = "https://github.com"
    endpoint: _Endpoint = "http://docker-mirror.docker-mirror.svc.cluster.local:5000"
    golden: _Repository = "golden-images"
    cache: _Repository = "dockerhub-cache"
    credentials: Credentials = Credentials()

    @field_validator("images")
    @classmethod
    def _each_once(cls, images: tuple[Image, ...]) -> tuple[Image, ...]:
        names = [image.mirrored for image in images]
        for nth, image in enumerate(images):
            if image.mirrored in names[:nth]:
                raise ValueError(f"[{nth}] is {image.name} again")
        return images

    @property
    def scopes(self) -> tuple[str, ...]:
        """The URLs under which git sends credentials first.

        Example:
            >>> ours = {"mirror": "eu-docker.pkg.dev/acme-ci/mirror", "images": ["debian:trixie"]}
            >>> Catalogue(organisations=("acme",), **ours).scopes
            ('https://github.com/acme/',)
        """
        return tuple(f"{self.forge}/{organisation}/" for organisation in self.organisations)


def read_catalogue(path: Path) -> Catalogue:
    """Reads a catalogue file.

    Raises:
        CiforensicsError: the file cannot be read, is no YAML, or an entry is missing, unknown or of the wrong
            type; the sentence names it.
    """
    try:
        return parse_catalogue(path.read_text(encoding="utf-8"), name=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise CiforensicsError(
            f"The catalogue {path} cannot be read: {error}.",
            hint="`ciforensics capture export golden-images DIR` writes one to begin with.",
        ) from error


def parse_catalogue(text: str, *, name: str = "The catalogue") -> Catalogue:
    r"""A catalogue from its text; `name` stands for it in errors.

    Example:
        >>> mirror = "eu-docker.pkg.dev/acme-ci/mirror"
        >>> parse_catalogue(f"organisations: [acme]\nmirror: {mirror}\nimages: [debian:trixie]").images
        (Image(name='debian:trixie', git='source', user='root'),)
    """
    try:
        document = yaml.safe_load(text)
    # What is wrong for its tag raises what it happens to: 2026-99-99, !!bool foo, !!timestamp foo, 1:…:1.5
    except (
        yaml.YAMLError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        ValueError,
    ) as error:
        said = " ".join(str(error).split())
        raise CiforensicsError(f"{name} is no YAML: {said}.", hint="mend the line that it names.") from error
    return _read(Catalogue, document, name)


def read_credentials(value: Any, at: str) -> Credentials:
    """The catalogue's entry `credentials`, or what stands for it; `at` says where it is.

    Example:
        >>> read_credentials({"environment": "TOKEN"}, "here")
        Credentials(secret='github_token', environment='TOKEN')
    """
    return _read(Credentials, value, at)


def _read(model: type[_M], value: Any, at: str) -> _M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _refusal(model, error, at) from None  # its text would show all of the value, however long


def _refusal(model: type[_Entries], error: ValidationError, at: str) -> CiforensicsError:
    """What is wrong, as a sentence: the first of what is unknown, is missing, does not fit."""
    wrong = sorted(error.errors(), key=lambda each: (each["type"] not in _UNKNOWN, each["type"] != "missing"))
    kind, loc, value = wrong[0]["type"], wrong[0]["loc"], wrong[0]["input"]
    inside = loc[:-1] if kind in {*_UNKNOWN, "missing"} else loc
    where = at + "".join(f"[{each}]" if isinstance(each, int) else f": {each}" for each in inside)
    entries = list((_MAPPINGS[inside[0]] if inside and inside[0] in _MAPPINGS else model).model_fields)
    if kind in _UNKNOWN:
        name = loc[-1] if loc else value
        return CiforensicsError(f"{where}: {_shown(name)} is no entry.", hint=suggest(str(name), entries))
    if kind == "missing":
        names = [
            str(each["loc"][-1]) for each in wrong if each["type"] == kind and each["loc"][:-1] == inside
        ]
        return CiforensicsError(
            f"{where} does not say {' and '.join(names)}.",
            hint="`ciforensics capture export golden-images DIR` writes a catalogue that is whole.",
        )
    if kind == "value_error":
        return CiforensicsError(f"{where}{wrong[0]['ctx']['error']}.", hint="keep one of them.")
    expected, hint = "a list of at least one", "give [one, two]."
    if kind == UNFIT:
        expected, hint = wrong[0]["ctx"]["meaning"], f"for instance {wrong[0]['ctx']['example']}."
    elif kind == "model_type":
        expected, hint = "a mapping", f"it takes {', '.join(entries)}."
    return CiforensicsError(f"{where} is {_shown(value)}, not {expected}.", hint=hint)


_UNKNOWN = ("extra_forbidden", "invalid_key", "string_unicode")
_MAPPINGS: dict[int | str, type[_Entries]] = {"images": Image, "credentials": Credentials}


def _shown(value: Any) -> str:
    short = reprlib.Repr()  # an alias of aliases would be shown billions of times
    short.maxlist = short.maxdict = 4
    short.maxlevel, short.maxstring, short.maxother = 3, 60, 60
    try:
        text = short.repr(value)
    except ValueError:  # more digits than Python shows
        text = "a very large number"
    return text if len(text) <= 60 else f"{text[:59]}…"
