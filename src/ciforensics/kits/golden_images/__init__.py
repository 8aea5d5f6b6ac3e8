"""Golden images: what builds pull instead of stock base images, so that their git sends credentials first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ciforensics.kits.golden.catalogue import Catalogue, read_catalogue
from ciforensics.kits.kinds import Text
from ciforensics.kits.kit import File, Kit, Only, Settings, key

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDER = Path(__file__).parent
_EXAMPLE = "example"

# Of git_2.47.3.orig.tar.xz as Debian 13's git_2.47.3-0+deb13u1.dsc has it.
_GIT_VERSION = "v2.47.3"
_GIT_SHA256 = "9c2eb1250781b3e5bfef098572d07fdf132d67e6c065e4307332ade9819a1501"


@dataclass(frozen=True, kw_only=True)
class _Golden:
    """A golden image, as the templates see it."""

    name: str
    base: str
    folder: str
    pushed: str
    git: str
    user: str


class GoldenImages(Settings):
    """The keys of the kit."""

    catalogue: Text = key(
        f"The YAML file that says which images, for whom; {_EXAMPLE} is one to begin with", _EXAMPLE
    )

    def more(self) -> Mapping[str, Any]:
        """What the catalogue says."""
        catalogue = read_catalogue(
            _FOLDER / "catalogue.yaml" if self.catalogue == _EXAMPLE else Path(self.catalogue)
        )
        registry, project, virtual = catalogue.mirror.split("/")
        return {
            "images": [_golden(catalogue, nth) for nth in range(len(catalogue.images))],
            "scopes": catalogue.scopes,
            "forge": catalogue.forge,
            "host": catalogue.forge.removeprefix("https://").partition(":")[0],  # as .netrc has it
            "credentials": catalogue.credentials,
            "endpoint": catalogue.endpoint,
            "registry": registry,
            "location": registry.removesuffix("-docker.pkg.dev"),
            "project": project,
            "virtual": virtual,
            "golden": catalogue.golden,
            "cache": catalogue.cache,
            "git_version": _GIT_VERSION,
            "git_sha256": _GIT_SHA256,
        }


def _golden(catalogue: Catalogue, nth: int) -> _Golden:
    image = catalogue.images[nth]
    beside = catalogue.mirror.rpartition("/")[0]
    return _Golden(
        name=image.name,
        # Not by its own name: a daemon behind the mirror would answer with the golden version itself.
        base=f"{beside}/{catalogue.cache}/{image.mirrored}" if image.hub else image.name,
        folder="images/" + image.mirrored.replace(":", "/"),
        pushed=f"{beside}/{catalogue.golden}/{image.mirrored}",
        git=image.git,
        user=image.user,
    )


KIT = Kit(
    summary="base images whose git sends credentials first, behind the daemon's registry mirror",
    folder=_FOLDER,
    settings=GoldenImages,
    files={
        "README.md": File(),
        "catalogue.yaml": File(only=Only("catalogue", (_EXAMPLE,))),
        "Dockerfile": File(each="images"),
        "git-credential-golden.sh": File(executable=True),
        "push.sh": File(executable=True),
        "artifact-registry.sh": File(executable=True),
        "artifact-registry.tf": File(),
        "docker-mirror/kustomization.yaml": File(),
        "docker-mirror/docker-mirror.yaml": File(),
        "docker-mirror/nginx.conf": File(),
        "docker-mirror/run.sh": File(executable=True),
        "dind-sidecar.yaml": File(),
    },
    source="mitmproxy",
)
