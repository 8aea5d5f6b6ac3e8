"""What a git really does when a forge asks for credentials: it is run, and its requests are looked at."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ciforensics.errors import CiforensicsError
from ciforensics.kits.golden.forge import Asked, Forge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ciforensics.kits.golden.gits import Git

_ANYWHERE = "https://github.com/your-org/"
_PATIENCE_S = 60
_URL = re.compile(r"https://[\w.-]+(?::\d+)?(?:/[\w.~%+-]+)*/?", re.ASCII)


class Behaviour(StrEnum):
    """What a git does first, where a repository is not open to all."""

    CREDENTIALS_FIRST = "credentials first"
    TAGGED_BUT_401_FIRST = "401 first, although tagged"
    FIRST_401 = "401 first"
    BREAKS_WITHOUT_HELPER = "breaks without a helper"
    NO_REQUEST = "sends no request"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was seen under one URL.

    Attributes:
        version: as `git version` says it.
        url: the repository that was asked for.
        behaviour: with a token where the image looks for it.
        tagged: whether the user agent says `proactive`; None where no request was sent.
        public_without_token: whether a public repository is fetched where there is no token.
        requests: what was sent for a private repository.
        said: git's last words, if it failed.
    """

    version: str
    url: str
    behaviour: Behaviour
    tagged: bool | None
    public_without_token: bool
    requests: tuple[Asked, ...]
    said: str

    @property
    def tag_agrees(self) -> bool:
        """Whether the tag says what the behaviour is."""
        return self.tagged is not None and self.tagged == (self.behaviour is Behaviour.CREDENTIALS_FIRST)

    @property
    def golden(self) -> bool:
        """Whether credentials come first, and the tag says so."""
        return self.behaviour is Behaviour.CREDENTIALS_FIRST and self.tag_agrees


def judge_git(git: Git, *, url: str | None = None) -> list[Verdict]:
    """Runs a git against a forge on loopback; nothing is sent anywhere else.

    Args:
        git: which one, as `gits` makes it ready.
        url: an https URL of an organisation; by default each for which `proactiveAuth` is configured, and
            where there is none, https://github.com/your-org/.

    Raises:
        CiforensicsError: the git does not run, or `url` is none.
    """
    if url is not None and not _URL.fullmatch(url):
        raise CiforensicsError(
            f"{url!r} is no https URL of an organisation, without user and query.", hint=f"e.g. {_ANYWHERE}."
        )
    said = _output(git, "version")
    if not said.startswith("git version "):
        raise CiforensicsError(f"{git.name} is no git.", hint="give the path of a git, e.g. /usr/bin/git.")
    version = said.removeprefix("git version ").strip()
    scopes = [url] if url else _scopes(git) or [_ANYWHERE]
    return [_verdict(git, version, f"{scope.rstrip('/')}/ciforensics-probe") for scope in scopes]


def _scopes(git: Git) -> list[str]:
    """The https URLs that `proactiveAuth` is set for."""
    keys = _output(git, "config", "--name-only", "--get-regexp", r"^http\..*\.proactiveauth$", codes=(0, 1))
    urls = (re.sub(r"^http\.|\.proactiveauth$", "", key) for key in keys.splitlines())
    return list(dict.fromkeys(each.replace("*", "any") for each in urls if each.startswith("https://")))


def _verdict(git: Git, version: str, url: str) -> Verdict:
    private, said = _ask(git, url, fed=True)
    seen = private or _ask(git, url, fed=True, lend=True)[0]
    tagged = "proactive" in seen[0].user_agent.split() if seen else None
    if private:
        if private[0].authenticated:
            behaviour = Behaviour.CREDENTIALS_FIRST
        else:
            behaviour = Behaviour.TAGGED_BUT_401_FIRST if tagged else Behaviour.FIRST_401
    else:
        lent = bool(seen) and seen[0].authenticated
        behaviour = Behaviour.BREAKS_WITHOUT_HELPER if lent else Behaviour.NO_REQUEST
    public, _ = _ask(git, url, fed=False, public=True)
    return Verdict(
        version=version,
        url=url,
        behaviour=behaviour,
        tagged=tagged,
        public_without_token=any(each.status == 200 for each in public),
        requests=private,
        said=said,
    )


def _ask(
    git: Git, url: str, *, fed: bool, lend: bool = False, public: bool = False
) -> tuple[tuple[Asked, ...], str]:
    """The requests of one `git ls-remote`, and what git said if it failed.

    Args:
        git: which one.
        url: the repository.
        fed: whether there is a token where the image's helper looks for one.
        lend: whether git gets a credential helper that has a credential.
        public: whether the forge lets everybody in.
    """
    with Forge(public=public) as forge:
        # For all URLs, as one may be rewritten (url.<base>.insteadOf), and for this very one: nothing that is
        # baked in is more specific (git-config(1), http.<url>.*).
        options = {
            f"http.{scope}{name}": value
            for scope in ("", f"{url}.")
            for name, value in (("proxy", forge.url), ("sslVerify", "false"))
        }
        if lend:
            options[f"credential.{url}.helper"] = "!printf 'username=lent\\npassword=lent\\n' #"
        given = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with git.token(there=fed) as environment:
            done = _run(git, *given, "ls-remote", url, environment=environment)
    said = [] if done.returncode == 0 else done.stderr.decode(errors="replace").split("\n")
    return tuple(forge.asked), next((line for line in said if line.startswith("fatal: ")), "".join(said[:1]))


def _output(git: Git, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
    done = _run(git, *arguments)
    if done.returncode not in codes:
        said = " ".join(done.stderr.decode(errors="replace").split()) or f"exit code {done.returncode}"
        raise CiforensicsError(
            f"{git.name}: `git {arguments[0]}` fails: {said}.", hint="give one that has a git that runs."
        )
    return done.stdout.decode(errors="replace")


def _run(
    git: Git, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    with tempfile.TemporaryDirectory() as folder:  # outside of every repository
        try:
            return subprocess.run(
                [*git.command, *arguments],
                env={**git.environment, **(environment or {}), **_QUIET},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=_PATIENCE_S,
            )
        except OSError as error:
            raise CiforensicsError(
                f"{git.name} cannot be run: {error.strerror or error}.", hint="give a git that runs here."
            ) from error
        except subprocess.TimeoutExpired as error:
            raise CiforensicsError(
                f"{git.name}: `git {arguments[0]}` did not end within {_PATIENCE_S} s.",
                hint="look at its credential helper: it must not ask anybody.",
            ) from error


# Nobody is asked, and nothing but the forge is reached.
_QUIET = {
    "GIT_ALLOW_PROTOCOL": "https",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS": "",
    "no_proxy": "",
    "NO_PROXY": "",
    "LC_ALL": "C",
}
