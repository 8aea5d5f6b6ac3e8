"""`ciforensics golden resolve` and `golden scan`: who would serve the images that builds start from."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from ciforensics.cli.console import show, show_table, write_json
from ciforensics.errors import CiforensicsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ciforensics.kits.golden.scan import BaseImage
    from ciforensics.kits.golden.totals import Totals

app = typer.Typer()


@app.command("resolve")
def resolve_images(
    references: Annotated[list[str], typer.Argument(metavar="IMAGE_REF...", help="E.g. golang:1.24.")],
    catalogue: Annotated[Path, typer.Option(help="Which images have a golden version: a YAML file.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object an image.")] = False,
) -> None:
    """Say who would serve an image behind the registry mirror: golden, the cache, or none of them (bypassed).

    Docker asks a mirror for images of Docker Hub only. For one that is pinned by digest it asks too, but for
    that very content, which is never the golden version.
    """
    from ciforensics.kits.golden.catalogue import read_catalogue  # noqa: PLC0415 (yaml)
    from ciforensics.kits.golden.resolve import resolve_reference  # noqa: PLC0415 (regex)

    known = read_catalogue(catalogue)
    resolved = [resolve_reference(each, known).columns for each in references]
    if as_json:
        for each in resolved:
            write_json(each)
        return
    names = ("reference", "registry", "image", "image_tag", "served_by", "reason")
    show_table(names, ([each[name] for name in names] for each in resolved))


@app.command("scan")
def scan_dockerfiles(
    tree: Annotated[Path, typer.Argument(metavar="PATH", help="A folder of Dockerfiles, or one of them.")],
    catalogue: Annotated[
        Path | None, typer.Option(help="Which images have a golden version; without it none has.")
    ] = None,
    repo: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", help="The repository.  [default: git's remote origin]"),
    ] = None,
    by_folder: Annotated[
        bool, typer.Option("--by-folder", help="PATH holds repositories as OWNER/NAME.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object an image; ingest reads it.")
    ] = False,
) -> None:
    """Say the same for every image that Dockerfiles name: FROM, COPY --from and RUN --mount=from.

    Names of stages are no images. Build arguments have their defaults; an image whose argument has none is
    unknown. Read are Dockerfile, Dockerfile.*, *.Dockerfile and Containerfile, in all folders.
    """
    from ciforensics.kits.golden.catalogue import read_catalogue  # noqa: PLC0415 (yaml)
    from ciforensics.kits.golden.scan import BaseImage, Unread, json_line, scan_tree  # noqa: PLC0415 (regex)
    from ciforensics.kits.golden.totals import count_images  # noqa: PLC0415

    if repo is not None and (repo.count("/") != 1 or not all(repo.split("/"))):
        raise CiforensicsError(f"--repo {repo!r} is no repository.", hint="give OWNER/NAME, e.g. acme/web.")
    ts = datetime.now(UTC)
    known = read_catalogue(catalogue) if catalogue else None
    scanned = scan_tree(tree, catalogue=known, ci_repo=repo, by_folder=by_folder)
    if as_json:
        for each in scanned:
            sys.stdout.write(json_line(each, ts) + "\n")
        return
    every = list(scanned)
    _show_images([each for each in every if isinstance(each, BaseImage)])
    for unread in every:
        if isinstance(unread, Unread):
            place = f"{unread.ci_repo}: {unread.dockerfile}" if unread.ci_repo else unread.dockerfile
            show(f"{place}:{unread.line}: {unread.error}", style="red")
    _show_totals(count_images(every))


def _show_images(images: Sequence[BaseImage]) -> None:
    names = ("ci_repo", "dockerfile", "line", "stage", "instruction", "reference", "served_by", "reason")
    rows = [each.columns for each in images]
    shown = [name for name in names if any(row[name] is not None for row in rows)]
    if rows:
        show_table(shown, ([row[name] for name in shown] for row in rows))


def _show_totals(counts: Totals) -> None:
    show(
        f"{counts.dockerfiles:,} Dockerfiles read, {counts.unread:,} not; "
        f"{counts.images:,} images in FROM, stages and scratch aside"
    )
    if not counts.images:
        return
    show(
        f"the mirror reaches {_share(counts.reached, counts.known)}: "
        f"golden {counts.golden:,}, cache {counts.cache:,}"
    )
    show(
        f"past it go {counts.pinned:,} pinned by digest and {counts.elsewhere:,} from other registries; "
        f"{counts.unknown:,} are unknown"
    )
    show(f"Dockerfiles with a golden image: {_share(counts.with_golden, counts.dockerfiles)}")
    if counts.wanting:
        most = ", ".join(f"{name} {uses:,}" for name, uses in counts.wanting[:10])
        show(f"without a golden version, the most used first: {most}")


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}" + (f" ({part / whole:.0%})" if whole else "")
