"""What a scan comes to, by the counting rule of view `mirror_reach`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ciforensics.kits.golden.resolve import BYPASSED, CACHE, GOLDEN, SCRATCH, UNKNOWN
from ciforensics.kits.golden.scan import BaseImage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ciforensics.kits.golden.scan import Unread


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Counts of Dockerfiles, and of the FROMs that pull an image: no stage, not scratch.

    Attributes:
        dockerfiles: read, with an image in them.
        unread: could not be read.
        with_golden: Dockerfiles with a golden image in a FROM.
        images: the FROMs.
        golden: of these the golden.
        cache: from the cache: there is no golden version.
        pinned: past the mirror by digest.
        elsewhere: past it from another registry.
        unknown: not known.
        wanting: images that the cache serves, the most used first, with the number of FROMs.
    """

    dockerfiles: int
    unread: int
    with_golden: int
    images: int
    golden: int
    cache: int
    pinned: int
    elsewhere: int
    unknown: int
    wanting: tuple[tuple[str, int], ...]

    @property
    def reached(self) -> int:
        """FROMs that the mirror would serve."""
        return self.golden + self.cache

    @property
    def known(self) -> int:
        """FROMs whose image is known."""
        return self.images - self.unknown


def count_images(scanned: Iterable[BaseImage | Unread]) -> Totals:
    """Counts what a scan gave."""
    everything = list(scanned)
    named = [each for each in everything if isinstance(each, BaseImage)]
    bases = [each for each in named if each.instruction == "FROM" and each.resolved.reference != SCRATCH]
    served = Counter(each.resolved.served_by for each in bases)
    parsed = [each.resolved.parsed for each in bases]
    pinned = sum(each is not None and each.digest is not None for each in parsed)
    wanting = Counter(
        each.resolved.parsed.name
        for each in bases
        if each.resolved.parsed and each.resolved.served_by == CACHE
    )
    return Totals(
        dockerfiles=len({(each.ci_repo, each.dockerfile) for each in named}),
        unread=len(everything) - len(named),
        with_golden=len(
            {(each.ci_repo, each.dockerfile) for each in bases if each.resolved.served_by == GOLDEN}
        ),
        images=len(bases),
        golden=served[GOLDEN],
        cache=served[CACHE],
        pinned=pinned,
        elsewhere=served[BYPASSED] - pinned,
        unknown=served[UNKNOWN],
        wanting=tuple(sorted(wanting.items(), key=lambda each: (-each[1], each[0]))),
    )
