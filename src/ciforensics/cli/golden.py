"""`ciforensics golden`: base images whose git sends credentials first."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

from ciforensics.cli import golden_scan
from ciforensics.cli.console import show, show_table, write_json
from ciforensics.errors import CiforensicsError

if TYPE_CHECKING:
    from ciforensics.kits.golden.verify import Verdict

app = typer.Typer()
commands = typer.Typer(
    help="Golden images: base images whose git sends credentials first.", no_args_is_help=True
)
app.add_typer(commands, name="golden")


@commands.command()
def build(
    catalogue: Annotated[Path, typer.Option(help="Which images, for which organisations: a YAML file.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A folder that is new or empty.")],
) -> None:
    """Write a Dockerfile for each image of a catalogue, the push commands and the mirror's configuration.

    The same as `ciforensics capture export golden-images DIR --set catalogue=FILE`. DIR/README.md is the
    place to begin.
    """
    from ciforensics.kits.export import export_kit  # noqa: PLC0415 (jinja2 takes its time)

    for path in export_kit("golden-images", out, settings={"catalogue": str(catalogue)}):
        show(path)


@commands.command("verify")
def verify_git(
    git: Annotated[Path | None, typer.Option(metavar="PATH", help="A git of this machine.")] = None,
    rootfs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder that is a root file system; needs root.")
    ] = None,
    image: Annotated[str | None, typer.Option(metavar="REF", help="An image; needs docker and root.")] = None,
    url: Annotated[
        str | None,
        typer.Option(help="Of an organisation.  [default: each that proactiveAuth is configured for]"),
    ] = None,
    secret: Annotated[str, typer.Option(help="Id of the secret with the token.")] = "github_token",  # noqa: S107
    variable: Annotated[str, typer.Option(help="Variable with the token.")] = "GITHUB_TOKEN",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a URL.")] = False,
) -> None:
    """Prove by behaviour whether a git sends credentials first, and whether its user agent says so.

    That git is run against a forge on loopback; nothing is sent anywhere else. What is in an image or a root
    file system is run as root in a chroot: verify what you would also build with. Exit code 0 only if
    credentials come first and the tag agrees.
    """
    from ciforensics.kits.golden import gits  # noqa: PLC0415 (trustme takes its time)
    from ciforensics.kits.golden.catalogue import read_credentials  # noqa: PLC0415
    from ciforensics.kits.golden.verify import judge_git  # noqa: PLC0415

    options = {"secret": secret, "environment": variable}
    credentials = read_credentials(options, "--secret and --variable")
    made = [
        *([gits.program(git, credentials)] if git else ()),
        *([gits.root_file_system(rootfs, credentials)] if rootfs else ()),
        *([gits.image(image, credentials)] if image else ()),
    ]
    if len(made) != 1:
        raise typer.BadParameter("give one of --git, --rootfs, --image")
    with made[0] as ready:
        verdicts = judge_git(ready, url=url)
    for verdict in verdicts:
        if as_json:
            more = {"tag_agrees": verdict.tag_agrees, "golden": verdict.golden}
            write_json(asdict(verdict) | more)
        else:
            _show(verdict)
    for verdict in verdicts:
        if not verdict.golden:
            raise CiforensicsError(_fact(verdict), hint=_HINTS[verdict.behaviour])


def _show(verdict: Verdict) -> None:
    tag = {True: "says proactive", False: "does not say proactive", None: "was not seen"}[verdict.tagged]
    public = "are fetched" if verdict.public_without_token else "cannot be fetched"
    for line in (
        f"{verdict.behaviour}: git {verdict.version}, {verdict.url}",
        f"The user agent {tag}{'' if verdict.tag_agrees or verdict.tagged is None else ', which is wrong'}.",
        f"Without a token, public repositories {public}.",
    ):
        show(line)
    rows = [
        (nth, each.method, each.path, each.user_agent, "sent" if each.authenticated else "none", each.status)
        for nth, each in enumerate(verdict.requests, start=1)
    ]
    if rows:
        show_table(("", "method", "path", "user agent", "credential", "status"), rows, fold=True)


def _fact(verdict: Verdict) -> str:
    said = f" ({verdict.said})" if verdict.said and not verdict.requests else ""
    tag = "" if verdict.tag_agrees else ", and its user agent does not say what it does"
    return f"git {verdict.version} is not golden for {verdict.url}: {verdict.behaviour}{tag}{said}."


_HINTS = {
    "credentials first": "tag it: http.<url>.userAgent 'git/VERSION proactive'.",
    "401 first": "it takes git 2.46 or newer and http.<url>.proactiveAuth; its path's case counts.",
    "401 first, although tagged": "git before 2.46 ignores proactiveAuth: install a newer one.",
    "breaks without a helper": "proactiveAuth needs a credential helper, even for public repositories.",
    "sends no request": "run `git ls-remote` in it and read what it says.",
}

commands.add_typer(golden_scan.app)
