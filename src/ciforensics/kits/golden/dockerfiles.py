r"""Which images a Dockerfile is built from.

The parser is e2b-dockerfile-utils, a port of BuildKit's own: of 60,000 made-up files, those that both it and
BuildKit's (in the package dockerfile 3.4.0) read came out alike but for heredocs behind ONBUILD, which are
refused here. dockerfile 3.4.0 is BuildKit's parser itself, but ends the whole process on text that is not
UTF-8, stops at a NUL without a word, drops the flags of ONBUILD, and has no wheel for ARM or musl.
dockerfile-parse 2.0.1 and tree-sitter-dockerfile 0.2.0 take lines of heredocs or continuations for a FROM.

What is not in a Dockerfile is not known here: `--build-arg` and `--build-context` can put another image in
the place of one that has a default.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from e2b_dockerfile_utils import DockerfileSyntaxError, ShellLex, parse_dockerfile_ast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2b_dockerfile_utils import DockerfileAst, DockerfileInstruction

LONGEST_LINE = 65_535
"""BuildKit's own limit, in bytes."""
_LONGEST = 1_000
_MOST_STAGES = 1_000

_STAGE = re.compile("[a-z0-9][a-z0-9_.-]*")  # a name, or a number
_LONG_COMMENT = re.compile(r"(?m)^[^\S\n]*#[^\n]{1000,}")
_INCLUDE = re.compile(r"(?mi)^[^\S\n]*INCLUDE\+.*")

# An argument without a value is marked in what it is put into, so that it is known wherever it ends up.
_MARK = "\ue000{}\ue001"
_MARKED = re.compile("\ue000([^\ue000\ue001]*)\ue001")
_PLAIN = re.compile(r"\$(?:(?P<bare>[^\W\d]\w*)|\{(?P<braced>\w+)(?:\}|(?=[#%/])))")
_MODIFIED = re.compile(r"\$\{(\w+)[^\w}]")
_MADE_PATTERN = re.compile(r"\$\{\w+[#%/][^}]*\$")
_BUILDERS = re.compile(r"(?:BUILD|TARGET)(?:PLATFORM|OS|ARCH|VARIANT)")


class DockerfileError(ValueError):
    """A Dockerfile that docker, or the parser, does not read.

    Attributes:
        line: where.
    """

    def __init__(self, reason: str, line: int = 1) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, kw_only=True)
class Use:
    """An image that an instruction names.

    Attributes:
        line: where the instruction starts.
        stage: name of the stage, or its number where it has none.
        instruction: `FROM`; `COPY` and `RUN` only take files out of an image.
        written: the image as it is written.
        image: with the defaults of build arguments put in; None where that cannot be known.
        platform: what `--platform` says.
        reason: why the image is not known.
    """

    line: int
    stage: str
    instruction: str
    written: str
    image: str | None
    platform: str | None = None
    reason: str | None = None


def images(text: str) -> list[Use]:
    r"""The images that a Dockerfile names, in order; a stage that is built on another one names none.

    Raises:
        DockerfileError: it cannot be read.

    Example:
        >>> text = "ARG GO=1.24\nFROM golang:${GO} AS build\nFROM scratch\nCOPY --from=build / /\n"
        >>> for use in images(text):
        ...     print(use.line, use.stage, use.image)
        2 build golang:1.24
        3 1 scratch
    """
    ast = _parsed(text)
    reading = _Reading(ast.escape_token)
    reading.all_stages = {name for each in ast.instructions if (name := _stage_name(each))}
    uses = [use for instruction in ast.instructions for use in reading.uses(instruction)]
    if reading.number < 0:
        raise DockerfileError("no FROM in it")
    return uses


def _parsed(text: str) -> DockerfileAst:
    if "\0" in text:
        raise DockerfileError("there are NULs in it", text.count("\n", 0, text.index("\0")) + 1)
    for nth, line in enumerate(text.split("\n"), start=1):
        if len(line) > LONGEST_LINE:
            raise DockerfileError(f"a line of more than {LONGEST_LINE:,} bytes", nth)
    try:
        # What a comment says is of no matter, but the parser's pattern for directives is slow on long ones.
        return parse_dockerfile_ast(_LONG_COMMENT.sub("#", text))
    except DockerfileSyntaxError as error:
        if include := _INCLUDE.search(text):  # dockerfile-plus; stages and arguments may come from there
            at = text.count("\n", 0, include.start()) + 1
            raise DockerfileError("INCLUDE+ is not followed", at) from error
        reason = str(error).partition(": ")[2] or str(error)
        raise DockerfileError(reason, error.line or 1) from error
    except RecursionError as error:
        raise DockerfileError("nested too deeply") from error


@dataclass
class _Reading:
    """What is known of a Dockerfile up to an instruction."""

    escape: str
    all_stages: set[str] = field(default_factory=set)
    earlier: set[str] = field(default_factory=set)
    arguments: dict[str, str] = field(default_factory=dict)
    number: int = -1
    stage: str = ""

    def uses(self, instruction: DockerfileInstruction) -> Iterator[Use]:
        name = instruction.name
        if name == "FROM":
            yield from self._from(instruction)
        elif name == "ARG" and self.number < 0:  # those behind a FROM do not reach the next one
            self._argument(instruction)
        elif name == "ONBUILD":
            yield from self._onbuild(instruction)
        else:
            for source in _sources(instruction):
                yield from self._files(instruction, source)

    def _from(self, instruction: DockerfileInstruction) -> Iterator[Use]:
        self.number += 1
        if self.number >= _MOST_STAGES:  # each is looked for among all before it
            raise DockerfileError(f"more than {_MOST_STAGES:,} stages", instruction.start_line)
        earlier, name = set(self.earlier), _stage_name(instruction)
        self.stage = name or str(self.number)
        self.earlier |= {name} if name else set()
        platform = next(
            (flag.partition("=")[2] for flag in instruction.flags if flag.startswith("--platform=")), None
        )
        words = instruction.args
        use = _use(instruction, self.stage, words[0] if name else " ".join(words), platform)
        if len(words) != 1 and not name:
            yield _unknown(use, "docker refuses it: FROM takes IMAGE or IMAGE AS NAME")
            return
        try:
            image = self._expanded(words[0])
        except ValueError as error:
            yield _unknown(use, f"cannot be put together: {error}")
            return
        if missing := _MARKED.findall(image):
            if not _fits_a_stage(image, earlier):
                yield _unknown(use, f"no value for {', '.join(dict.fromkeys(missing))}")
        elif image.lower() not in earlier:
            yield _known(use, image)

    def _argument(self, instruction: DockerfileInstruction) -> None:
        for word in instruction.args:
            name, equals, value = word.partition("=")
            if not equals:
                continue  # declared without a default: one from before stays
            try:
                self.arguments[name] = self._expanded(value)
            except ValueError:
                self.arguments[name] = _MARK.format(name)

    def _expanded(self, word: str) -> str:
        # Patterns with more wildcards could take for ever; what others are made into one is not followed.
        if len(word) > _LONGEST or word.count("*") > 2 or _MADE_PATTERN.search(word):
            raise ValueError("too long or too intricate")
        for name in _MODIFIED.findall(word):
            if missing := _MARKED.search(self.arguments.get(name, "")):
                return missing[0]
        marked = _PLAIN.sub(self._marked, word)
        lexer = ShellLex(self.escape, env=self.arguments, skip_unset_env=False)
        expanded = lexer.process_word(marked)
        if len(expanded) > _LONGEST:  # values of values grow by powers
            raise ValueError("too long or too intricate")
        return expanded

    def _marked(self, argument: re.Match[str]) -> str:
        name = argument["bare"] or argument["braced"]
        return argument[0] if name in self.arguments else _MARK.format(name)

    def _files(self, instruction: DockerfileInstruction, source: str) -> Iterator[Use]:
        """An image, unless it is a stage; COPY also takes a stage's number."""
        use = _use(instruction, self.stage, source)
        if source.lower() in self.all_stages:
            return
        if instruction.name == "COPY" and re.fullmatch("[0-9]+", source):
            if source not in map(str, range(self.number)):
                yield _unknown(use, "docker refuses it: no such stage before this one")
        elif "$" in source:
            yield _unknown(use, "docker refuses it: no variables in from")
        else:
            yield _known(use, source)

    def _onbuild(self, instruction: DockerfileInstruction) -> Iterator[Use]:
        """Runs in another Dockerfile's build, whose stages are not known."""
        rest = instruction.original.split(None, 1)[1:]
        try:
            inner = parse_dockerfile_ast("\n".join([f"# escape={self.escape}", *rest])).instructions
        except (DockerfileSyntaxError, RecursionError) as error:
            reason = str(error).rpartition(": ")[2]
            if "heredoc" in reason:
                reason = "a heredoc behind ONBUILD is not followed"
            raise DockerfileError(reason, instruction.start_line) from error
        for each in inner:
            each.start_line = instruction.start_line
            for source in _sources(each):
                use = _use(each, self.stage, source)
                reason = "ONBUILD: an image, or a stage of the Dockerfile that builds on this one"
                maybe = "$" in source or _STAGE.fullmatch(source.lower())
                yield _unknown(use, reason) if maybe else _known(use, source)


def _stage_name(instruction: DockerfileInstruction) -> str | None:
    words = instruction.args
    if instruction.name != "FROM" or len(words) != 3 or words[1].lower() != "as":
        return None
    name = words[2].lower()
    return name if _STAGE.fullmatch(name) and not name[0].isdecimal() else None


def _sources(instruction: DockerfileInstruction) -> Iterator[str]:
    """What COPY --from and RUN --mount=from name."""
    for flag in instruction.flags:
        option, _, value = flag.partition("=")
        if (instruction.name, option) == ("COPY", "--from"):
            yield value
        elif (instruction.name, option) == ("RUN", "--mount"):
            try:
                fields = next(csv.reader([value], strict=True), [])
            except csv.Error as error:
                raise DockerfileError(f"--mount: {error}", instruction.start_line) from error
            pairs = [each.partition("=") for each in fields]
            yield from [source for key, _, source in pairs if key.strip().lower() == "from" and source][-1:]


def _fits_a_stage(image: str, stages: set[str]) -> bool:
    """Whether it is one of several stages, e.g. `base-$TARGETARCH`: only the builder knows which."""
    if not all(_BUILDERS.fullmatch(name) for name in _MARKED.findall(image)):
        return False
    literal = re.split(_MARKED, image.lower())[::2]
    return any(literal) and any(
        re.fullmatch("[a-z0-9._-]+".join(map(re.escape, literal)), stage) for stage in stages
    )


def _use(instruction: DockerfileInstruction, stage: str, written: str, platform: str | None = None) -> Use:
    line, name = instruction.start_line, instruction.name
    return Use(line=line, stage=stage, instruction=name, written=written, image=None, platform=platform)


def _known(use: Use, image: str) -> Use:
    return replace(use, image=image)


def _unknown(use: Use, reason: str) -> Use:
    return replace(use, reason=reason)
