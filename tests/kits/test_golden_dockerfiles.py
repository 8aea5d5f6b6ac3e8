"""Which images a Dockerfile names, whatever its writer thought of."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ciforensics.kits.golden.dockerfiles import DockerfileError, images

ZEROS = "@sha256:" + "0" * 64


def named(text: str) -> list[tuple[int, str, str | None]]:
    return [(use.line, use.stage, use.image) for use in images(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM alpine:3\n", [(1, "0", "alpine:3")]),
        ("\tfrom\talpine:3   as\tBuild", [(1, "build", "alpine:3")]),
        ("FROM alpine:3 \\\r\n AS x\r\nRUN a\r\n", [(1, "x", "alpine:3")]),
        ("\ufeffFROM alpine:3\n", [(1, "0", "alpine:3")]),
        ("FROM --platform=linux/arm64 \\\n# FROM busybox\n alpine:3 AS x\n", [(1, "x", "alpine:3")]),
        ("FROM a\nRUN x && \\\n# hm \\\n  y\nFROM b\n", [(1, "0", "a"), (5, "1", "b")]),
        ("FROM a\nRUN psql -c 'SELECT 1 \\\nFROM x'\nFROM b\n", [(1, "0", "a"), (4, "1", "b")]),
        ("FROM a\nRUN x \\\n\n  y\nFROM b\n", [(1, "0", "a"), (5, "1", "b")]),
        ("FROM a\nRUN <<EOF\nFROM x\nEOF\nFROM b\n", [(1, "0", "a"), (5, "1", "b")]),
        ("FROM a\nRUN <<-'E O'\n\tFROM x\n\tE O\nFROM b\n", [(1, "0", "a"), (5, "1", "b")]),
        ("FROM a\nCOPY <<A <<B /x/\nFROM x\nA\nFROM y\nB\nFROM b\n", [(1, "0", "a"), (7, "1", "b")]),
        ("FROM a\nRUN cat <<EOF > f && b\nFROM x\nEOF\nFROM b\n", [(1, "0", "a"), (5, "1", "b")]),
        ("FROM a\nRUN cat <<<EOF\nFROM b\n", [(1, "0", "a"), (3, "1", "b")]),
        ('FROM a\nRUN echo "<<EOF"\nFROM b\n', [(1, "0", "a"), (3, "1", "b")]),
        ('FROM a\nRUN ["cat", "<<EOF"]\nFROM b\n', [(1, "0", "a"), (3, "1", "b")]),
        ("FROM a\nRUN echo $((1<<3))\nFROM b\n", [(1, "0", "a"), (3, "1", "b")]),
        ("# escape=`\nFROM a\nRUN dir c:\\\nFROM b `\n AS c\n", [(2, "0", "a"), (4, "c", "b")]),
        ("# syntax=x\n# escape=`\nFROM a\nRUN x `\nFROM y\nFROM b\n", [(3, "0", "a"), (6, "1", "b")]),
        ("FROM a\n# escape=`\nRUN x \\\nFROM y\nFROM b\n", [(1, "0", "a"), (5, "1", "b")]),
        (f"FROM a:1{ZEROS}\n", [(1, "0", f"a:1{ZEROS}")]),
        ("# " + "x" * 5_000 + "\n# escape=`\nFROM a\nRUN x \\\nFROM b\n", [(3, "0", "a")]),
    ],
)
def test_an_instruction_is_told_from_what_looks_like_one(
    text: str, expected: list[tuple[int, str, str]]
) -> None:
    assert named(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a AS Base\nFROM base\nFROM BASE AS x\nFROM x\n", ["a"]),
        ("FROM later\nFROM b AS later\n", ["later", "b"]),
        ("FROM golang AS golang\nFROM golang\n", ["golang"]),
        ("FROM a\nFROM 0\n", ["a", "0"]),
        ("FROM a AS x\nFROM b\nCOPY --from=x / /\nCOPY --from=0 / /\nCOPY --from=X / /\n", ["a", "b"]),
        ("FROM a\nCOPY --chown=1 --from=busybox:1 --link / /\n", ["a", "busybox:1"]),
        ("FROM a\nCOPY --from=x / /\nFROM b AS x\n", ["a", "b"]),
        ("FROM a\nADD --from=x / /\nCOPY from=x --from=y /\n", ["a"]),
        ("FROM a\nRUN --mount=type=bind,from=x,target=/x --mount=type=cache,target=/c a\n", ["a", "x"]),
        ("FROM a AS b\nRUN --mount=from=b,target=/x a\nRUN --mount=from=0 a\n", ["a", "0"]),
        ('FROM a\nRUN --mount="type=bind,from=x:1" a\n', ["a", "x:1"]),
    ],
)
def test_a_stage_is_no_image_by_name_and_for_copy_by_number(text: str, expected: list[str]) -> None:
    assert [use.image for use in images(text)] == expected


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("ARG V=1\nFROM a:${V}\n", "a:1"),
        ("ARG V=1\nFROM a:$V-x\n", "a:1-x"),
        ("ARG V='1'\nFROM a:${V}\n", "a:1"),
        ("ARG A=x B=y\nFROM $A/$B\n", "x/y"),
        ("ARG A=x\nARG A\nFROM $A\n", "x"),
        ("ARG A=x\nARG B=${A}y\nFROM $B\n", "xy"),
        ("FROM a:${V:-2}\n", "a:2"),
        ("ARG V\nFROM a:${V:-2}\n", "a:2"),
        ("ARG V\nFROM a:${V-2}\n", "a:2"),
        ("ARG V=\nFROM a${V-2}\n", "a"),
        ("ARG V=\nFROM a${V:-2}\n", "a2"),
        ("ARG V=1\nFROM a${V:+-x}\n", "a-x"),
        ("FROM a${V:+-x}\n", "a"),
        ("FROM a${V:+$W}\n", "a"),
        ("ARG W=3\nFROM a:${V:-${W}}\n", "a:3"),
        ("ARG V=1.2.3\nFROM a:${V%.*}\n", "a:1.2"),
        ("ARG V=1.2.3\nFROM a:${V/2/9}\n", "a:1.9.3"),
        ('FROM "a:1"\n', "a:1"),
    ],
)
def test_build_arguments_have_their_defaults(text: str, image: str) -> None:
    assert [use.image for use in images(text)] == [image]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ARG V\nFROM a:$V\n", "no value for V"),
        ("FROM ${A}/${B}:${A}\n", "no value for A, B"),
        ("ARG B=$A\nFROM x:$B\n", "no value for A"),
        ("FROM a:${V:-$W}\n", "no value for W"),
        ("FROM a:${V%.*}\n", "no value for V"),
        ("FROM a\nARG V=1\nFROM b:$V\n", "no value for V"),
        ("FROM a:${V:?}\n", "cannot be put together: "),
        ("FROM a:${V\n", "cannot be put together: "),
        ("FROM a b\n", "docker refuses it: FROM takes IMAGE or IMAGE AS NAME"),
        ("FROM a AS B/C\n", "docker refuses it: FROM takes IMAGE or IMAGE AS NAME"),
        ("FROM\n", "docker refuses it: FROM takes IMAGE or IMAGE AS NAME"),
        ("FROM {{ base }}\n", "docker refuses it: FROM takes IMAGE or IMAGE AS NAME"),
        ("FROM a\nCOPY --from=$X / /\n", "docker refuses it: no variables in from"),
        ("FROM a\nCOPY --from=1 / /\n", "docker refuses it: no such stage before this one"),
        ("FROM a\nCOPY --from=" + "9" * 9_000 + " / /\n", "docker refuses it: no such stage before this one"),
        ("ARG P=*a*a*a*a\nARG A=aaa\nFROM ${A/$P/x}\n", "cannot be put together: too long"),
        ("ARG A=$B\nFROM a${A:+-x}\n", "no value for B"),
        ("ARG A=$B\nFROM a:${A:-1}\n", "no value for B"),
        ("FROM a\nONBUILD COPY --from=b / /\n", "ONBUILD: an image, or a stage"),
        ("FROM a AS b\nFROM b\nONBUILD COPY --from=b / /\n", "ONBUILD: an image, or a stage"),
        ("FROM a\nFROM b\nONBUILD COPY --from=0 / /\n", "ONBUILD: an image, or a stage"),
        ("FROM a\nONBUILD RUN --mount=from=$X y\n", "ONBUILD: an image, or a stage"),
    ],
)  # fmt: skip
def test_an_image_that_the_file_does_not_tell_is_unknown_and_says_why(text: str, reason: str) -> None:
    *_, last = images(text)
    assert last.image is None
    assert (last.reason or "").startswith(reason)


def test_what_runs_on_build_of_another_names_images_too() -> None:
    text = "FROM a\nONBUILD RUN --mount=from=x:1 y\nONBUILD COPY --from=ghcr.io/b/c / /\n"
    assert named(text) == [(1, "0", "a"), (2, "0", "x:1"), (3, "0", "ghcr.io/b/c")]


def test_the_stage_that_the_builders_platform_picks_is_no_image() -> None:
    stages = "FROM a AS base-amd64\nFROM b AS base-arm64\n"
    assert [use.image for use in images(stages + "FROM base-${TARGETARCH}\n")] == ["a", "b"]
    assert images(stages + "FROM c-$TARGETARCH\n")[-1].reason == "no value for TARGETARCH"
    assert images(stages + "FROM $BUILDOS\n")[-1].reason == "no value for BUILDOS"
    assert images(stages + "FROM base-$ARCH\n")[-1].reason == "no value for ARCH"


def test_the_platform_is_what_is_written() -> None:
    assert images("FROM --platform=$BUILDPLATFORM a\n")[0].platform == "$BUILDPLATFORM"


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("", "no FROM in it", 1),
        ("# only this\nARG A=1\n", "no FROM in it", 1),
        ("FROM a\nFRO b\n", "unknown instruction: FRO", 2),
        ("FROM a\nRUN <<EOF\nx\n", "unterminated heredoc", 2),
        ("FROM a\n\nINCLUDE+ Dockerfile.common\nFROM b\n", "INCLUDE+ is not followed", 3),
        ("FROM a\nONBUILD RUN <<EOF\nFROM x\nEOF\nFROM b\n", "unknown instruction: EOF", 4),
        ("FROM a\nONBUILD RUN <<EOF\nRUN x\nRUN y\n", "a heredoc behind ONBUILD is not followed", 2),
        ("FROM a\nRUN x\0\n", "there are NULs in it", 2),
        ("FROM a\nRUN " + "x" * 70_000, "a line of more than 65,535 bytes", 2),
        ("FROM a\nRUN " + "[" * 60_000, "nested too deeply", 1),
        ("FROM a\nRUN --mount='\"a\"b,from=x' y\n", "--mount", 2),
        ("FROM a\n" * 1_001, "more than 1,000 stages", 1_001),
    ],
)
def test_a_file_that_cannot_be_read_says_why_and_where(text: str, reason: str, line: int) -> None:
    with pytest.raises(DockerfileError) as error:
        images(text)
    assert str(error.value).startswith(reason)
    assert error.value.line >= line


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"ARG A{n + 1}=$A{n}$A{n}$A{n}\n" for n in range(40)).replace("$A0$A0$A0", "aaa")
        + "FROM $A40\n",
        "#a=x" + " " * 65_000 + "y\nFROM a\n",
        "# syntax=x" + " " * 65_000 + "y\nFROM a\n",
        "ARG A=" + "a" * 900 + "\nFROM ${A/*a*a*a*a*a*b/x}\n",
        "ARG P=*a*a*a*a*b\nARG A=" + "a" * 900 + "\nFROM ${A/$P/x}\n",
        "FROM a\n" + "COPY --from=b / /\n" * 20_000,
        "FROM " + "${A:-" * 150 + "x" + "}" * 150 + "\n",
        "ARG " + "\ue000" * 900 + "\nFROM " + "\ue000" * 900 + "\n",
        "FROM a\nRUN " + "\\ " * 32_000 + "\n",
        "FROM a\nRUN " + "<<A " * 10_000 + "\n",
        "".join(f"FROM a AS s{n}x\n" for n in range(10_000)) + "FROM s$TARGETARCH-y\n" * 10_000,
    ],
)
def test_a_file_made_to_take_for_ever_does_not(text: str) -> None:
    began = time.process_time()
    with suppress(DockerfileError):
        images(text)
    assert time.process_time() - began < 5


PIECES = st.sampled_from(
    ["FROM a", "FROM $X AS b", "from b", "RUN <<EOF", "EOF", "RUN x \\", "# escape=`", "`", "ARG X=1",
     "ARG X", "COPY --from=b / /", "COPY <<A <<-'B C' /", "A", "\tB C", "ONBUILD COPY --from=q / /",
     "ONBUILD", "ONBUILD ONBUILD RUN x", "RUN --mount=from=${X},type=bind x", "FROM ${X:-${Y:+z}}",
     "FROM ${X%.*}", "\ufeff", "\x85FROM x", "HEALTHCHECK NONE", "ENV a", "RUN --mount='", "FROM '", "\udc80"]
)  # fmt: skip


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(st.one_of(PIECES, st.text(max_size=20)), max_size=12).map("\n".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    lines = text.count("\n") + 1
    try:
        found = images(text)
    except DockerfileError as error:
        said, line = str(error), error.line
    else:
        assert all((use.image is None) == (use.reason is not None) for use in found)
        assert all(1 <= use.line <= lines for use in found)
        return
    assert said
    assert 1 <= line <= lines
