"""What docker takes an image reference for: `golang` is `docker.io/library/golang:latest`.

The grammar and the rules are those of distribution/reference, which docker is built with; docker-image-py has
them in Python.
"""

from __future__ import annotations

from dataclasses import dataclass

from docker_image.digest import InvalidDigest  # type: ignore[import-untyped]
from docker_image.reference import InvalidReference  # type: ignore[import-untyped]
from docker_image.reference import Reference as _Parsed

HUB = "docker.io"
_LONGEST = 1000
"""More than the longest name, tag and digest together."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An image reference, whole.

    Attributes:
        registry: host, and port where one is named; `docker.io` where none is.
        repository: path at the registry, official images of Docker Hub under `library/`.
        tag: `latest` where neither tag nor digest is named.
        digest: what the image is pinned to; docker then passes over the tag.
    """

    registry: str
    repository: str
    tag: str | None
    digest: str | None

    @property
    def name(self) -> str:
        """As docker's events call it: without tag and digest, Docker Hub and `library/` left out."""
        if self.registry != HUB:
            return f"{self.registry}/{self.repository}"
        owner, _, rest = self.repository.partition("/")
        return rest if owner == "library" and "/" not in rest else self.repository


def parse_reference(text: str) -> Reference:
    """Reads a reference as `docker pull` does.

    Raises:
        ValueError: docker would refuse it; says why.

    Example:
        >>> parse_reference("golang:1.24")
        Reference(registry='docker.io', repository='library/golang', tag='1.24', digest=None)
        >>> parse_reference("localhost:5000/app").registry
        'localhost:5000'
        >>> parse_reference("Golang")
        Traceback (most recent call last):
        ValueError: invalid reference format: repository name (library/Golang) must be lowercase
    """
    if text.endswith("\n") or len(text) > _LONGEST:  # a `$` of the library's patterns lets a newline pass
        raise ValueError("invalid reference format")
    try:
        parsed = _Parsed.parse_normalized_named(text)
    except (InvalidReference, InvalidDigest) as error:
        raise ValueError(str(error)) from error
    tag, digest = parsed["tag"], parsed["digest"]
    return Reference(
        registry=parsed.domain(),
        repository=parsed.path(),
        tag=tag or (None if digest else "latest"),
        digest=digest,
    )
