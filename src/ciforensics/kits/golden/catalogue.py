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

import difflib
import reprlib
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any

import yaml

from ciforensics.errors import CiforensicsError
from ciforensics.kits.kit import Kind, choice, text_like

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    _Read = Callable[[Any, str], Any]

_NAME = "[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PART = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"  # of an image's name, as distribution's grammar has it

_ORGANISATION = text_like("an organisation of the forge", "acme", "[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}")
_MIRROR = text_like(
    "a repository of Artifact Registry: LOCATION-docker.pkg.dev/PROJECT/REPOSITORY",
    "europe-docker.pkg.dev/acme-ci/mirror",
    rf"[a-z0-9-]+-docker\.pkg\.dev/[a-z][a-z0-9-]+/{_NAME}",
)
_REPOSITORY = text_like("a repository of Artifact Registry: a-z, 0-9 and -", "golden-images", _NAME)
_IMAGE = text_like(
    "an image with a tag and no digest",  # who pins a digest goes past the golden version
    "golang:1.24-bookworm",
    rf"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::\d{{1,5}})?/)?{_PART}(?:/{_PART})*:\w[\w.-]{{0,127}}",
)
_FORGE = text_like(
    "https:// and a host, with no path after it", "https://github.com", r"https://[a-z0-9.-]+(?::\d{1,5})?"
)
_ENDPOINT = text_like("a URL without a path", "http://mirror.example.com", r"https?://[\w.-]+(?::\d{1,5})?")
_SECRET = text_like("the id of a secret: letters, digits, ., _ and -", "github_token", r"\w[\w.-]*")
_VARIABLE = text_like("the name of a variable", "GITHUB_TOKEN", r"[A-Za-z_]\w*")
_USER = text_like("a user, or user:group", "nobody", r"\w[\w.-]*(?::\w[\w.-]*)?")
_GIT = choice("source", "package", "as-is")


@dataclass(frozen=True, kw_only=True)
class Image:
    """A base image that has a golden version.

    Attributes:
        name: as a Dockerfile names it, tag included.
        git: how it gets git 2.46 or newer: `source` builds it in a stage, `package` takes the distribution's,
            `as-is` trusts the base to have it.
        user: whom it runs as, which a golden version must not change.
    """

    name: str
    git: str = "source"
    user: str = "root"

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


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Where a golden image's credential helper finds the token.

    Attributes:
        secret: id of the BuildKit secret, mounted at /run/secrets/ID.
        environment: the variable that is read where there is no such secret.
    """

    secret: str = "github_token"  # noqa: S105 (the name of one)
    environment: str = "GITHUB_TOKEN"


@dataclass(frozen=True, kw_only=True)
class Catalogue:
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

    organisations: tuple[str, ...]
    mirror: str
    images: tuple[Image, ...]
    forge: str = "https://github.com"
    endpoint: str = "http://docker-mirror.docker-mirror.svc.cluster.local:5000"
    golden: str = "golden-images"
    cache: str = "dockerhub-cache"
    credentials: Credentials = Credentials()

    @property
    def scopes(self) -> tuple[str, ...]:
        """The URLs under which git sends credentials first.

        Example:
            >>> Catalogue(organisations=("acme",), mirror="", images=()).scopes
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
    return Catalogue(**_fields(document, name, Catalogue, _ENTRIES))


def read_credentials(value: Any, at: str) -> Credentials:
    """The catalogue's entry `credentials`, or what stands for it; `at` says where it is.

    Example:
        >>> read_credentials({"environment": "TOKEN"}, "here")
        Credentials(secret='github_token', environment='TOKEN')
    """
    return Credentials(
        **_fields(value, at, Credentials, {"secret": _of(_SECRET), "environment": _of(_VARIABLE)})
    )


def _text(value: Any, at: str, kind: Kind) -> str:
    try:
        return str(kind.read(value if isinstance(value, str) else ""))  # no kind takes an empty text
    except ValueError as error:
        raise CiforensicsError(
            f"{at} is {_shown(value)}, not {kind.meaning}.", hint=f"for instance {kind.example}."
        ) from error


def _organisations(value: Any, at: str) -> tuple[str, ...]:
    return tuple(_text(each, f"{at}[{nth}]", _ORGANISATION) for nth, each in enumerate(_list(value, at)))


def _images(value: Any, at: str) -> tuple[Image, ...]:
    images = {}
    for nth, each in enumerate(_list(value, at)):
        where = f"{at}[{nth}]"
        entry = each if isinstance(each, dict) else {"name": each}
        image = Image(**_fields(entry, where, Image, _IMAGE_ENTRIES))
        if image.mirrored in images:
            raise CiforensicsError(f"{where} is {image.name} again.", hint="keep one of them.")
        images[image.mirrored] = image
    return tuple(images.values())


def _of(kind: Kind) -> _Read:
    return lambda value, at: _text(value, at, kind)


def _list(value: Any, at: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise CiforensicsError(
            f"{at} is {_shown(value)}, not a list of at least one.", hint="give [one, two]."
        )
    return value


def _fields(value: Any, at: str, into: type, readers: Mapping[str, _Read]) -> dict[str, Any]:
    """A mapping's values, each read by its reader; `at` is where the mapping is."""
    if not isinstance(value, dict):
        raise CiforensicsError(
            f"{at} is {_shown(value)}, not a mapping.", hint=f"it takes {', '.join(readers)}."
        )
    for key in value:
        if key not in readers:
            near = difflib.get_close_matches(str(key), readers, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(readers)}."
            raise CiforensicsError(f"{at}: {_shown(key)} is no entry.", hint=hint)
    missing = [each.name for each in fields(into) if each.default is MISSING and each.name not in value]
    if missing:
        raise CiforensicsError(
            f"{at} does not say {' and '.join(missing)}.",
            hint="`ciforensics capture export golden-images DIR` writes a catalogue that is whole.",
        )
    return {key: readers[key](each, f"{at}: {key}") for key, each in value.items()}


def _shown(value: Any) -> str:
    short = reprlib.Repr()  # an alias of aliases would be shown billions of times
    short.maxlist = short.maxdict = 4
    short.maxlevel, short.maxstring, short.maxother = 3, 60, 60
    try:
        text = short.repr(value)
    except ValueError:  # more digits than Python shows
        text = "a very large number"
    return text if len(text) <= 60 else f"{text[:59]}…"


_IMAGE_ENTRIES: Mapping[str, _Read] = {"name": _of(_IMAGE), "git": _of(_GIT), "user": _of(_USER)}

_ENTRIES: Mapping[str, _Read] = {
    "organisations": _organisations,
    "mirror": _of(_MIRROR),
    "images": _images,
    "forge": _of(_FORGE),
    "endpoint": _of(_ENDPOINT),
    "golden": _of(_REPOSITORY),
    "cache": _of(_REPOSITORY),
    "credentials": read_credentials,
}
