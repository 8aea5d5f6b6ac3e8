"""Which member of the virtual repository would serve an image: the golden one, the cache, or none.

A daemon with `--registry-mirror` asks the mirror for images of Docker Hub and for no others. A virtual
repository then asks its members in order: a golden image is found by its tag, whatever else is by way of the
cache. For a digest it is asked too, but for that one content, which is never the golden one: that is called
bypassed as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ciforensics.kits.golden.references import HUB, Reference, parse_reference

if TYPE_CHECKING:
    from ciforensics.kits.golden.catalogue import Catalogue

GOLDEN, CACHE, BYPASSED, UNKNOWN = "golden", "cache", "bypassed", "unknown"
SCRATCH = "scratch"


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """Who would serve a reference.

    Attributes:
        reference: as it was written.
        parsed: what docker takes it for; None for `scratch` and what docker refuses.
        served_by: `golden`, `cache`, `bypassed` or `unknown`.
        reason: why, where it is not golden.
    """

    reference: str
    parsed: Reference | None
    served_by: str
    reason: str | None = None

    @property
    def columns(self) -> dict[str, str | None]:
        """In the names of table `base_images`."""
        parsed = self.parsed
        scratch = SCRATCH if self.served_by == BYPASSED else None
        return {
            "reference": self.reference,
            "image": parsed.name if parsed else scratch,
            "image_tag": parsed.tag if parsed else None,
            "image_digest": parsed.digest if parsed else None,
            "registry": parsed.registry if parsed else None,
            "served_by": self.served_by,
            "reason": self.reason,
        }


def resolve_reference(reference: str, catalogue: Catalogue | None = None) -> Resolved:
    """Who would serve an image; without a catalogue no image is golden.

    Example:
        >>> from ciforensics.kits.golden.catalogue import Catalogue, Image
        >>> images = (Image(name="golang:1.24-bookworm"),)
        >>> ours = Catalogue(organisations=("acme",), mirror="eu-docker.pkg.dev/acme/mirror", images=images)
        >>> for name in ("golang:1.24-bookworm", "golang:1.24", "ghcr.io/acme/base:1"):
        ...     image = resolve_reference(name, ours)
        ...     print(image.served_by, image.reason)
        golden None
        cache no golden version of this tag
        bypassed from ghcr.io, for which no mirror is asked
    """
    if reference == SCRATCH:
        return Resolved(
            reference=reference, parsed=None, served_by=BYPASSED, reason="empty: nothing is pulled"
        )
    try:
        parsed = parse_reference(reference)
    except ValueError as error:
        return unknown(reference, f"docker refuses it: {error}")
    served_by, reason = _member(parsed, catalogue)
    return Resolved(reference=reference, parsed=parsed, served_by=served_by, reason=reason)


def unknown(reference: str, reason: str) -> Resolved:
    """An image that nobody can know."""
    return Resolved(reference=reference, parsed=None, served_by=UNKNOWN, reason=reason)


def _member(parsed: Reference, catalogue: Catalogue | None) -> tuple[str, str | None]:
    if parsed.digest:
        return BYPASSED, "pinned by digest"
    asked = _asked(parsed, catalogue)
    if asked is None:
        return BYPASSED, f"from {parsed.registry}, for which no mirror is asked"
    golden = _golden(catalogue) if catalogue else {}
    if parsed.tag in golden.get(asked, ()):
        return GOLDEN, None
    return CACHE, "no golden version of this tag" if asked in golden else "no golden version"


def _asked(parsed: Reference, catalogue: Catalogue | None) -> str | None:
    """What the virtual repository is asked for: by a daemon as its mirror, or by name in the Dockerfile."""
    if parsed.registry == HUB:
        return parsed.repository
    prefix = f"{catalogue.mirror}/" if catalogue else None
    return parsed.name.removeprefix(prefix) if prefix and parsed.name.startswith(prefix) else None


@cache
def _golden(catalogue: Catalogue) -> dict[str, set[str]]:
    """Names of golden images at the mirror, to their tags."""
    tags: dict[str, set[str]] = {}
    for image in catalogue.images:
        name, _, tag = image.mirrored.rpartition(":")
        tags.setdefault(name, set()).add(tag)
    return tags
