"""Which member of the virtual repository serves an image, and what docker takes its reference for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ciforensics.kits.golden.catalogue import parse_catalogue
from ciforensics.kits.golden.references import Reference, parse_reference
from ciforensics.kits.golden.resolve import resolve_reference
from program import run

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "sha256:" + "0123456789abcdef" * 4
CATALOGUE = """
organisations: [acme]
mirror: europe-docker.pkg.dev/acme-ci/mirror
images: [golang:1.24-bookworm, acme/base:2, docker.io/library/debian:trixie, ghcr.io/acme/tools:1]
"""


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("golang", "docker.io", "library/golang", "latest", None),
        ("golang:1.24", "docker.io", "library/golang", "1.24", None),
        ("docker.io/golang", "docker.io", "library/golang", "latest", None),
        ("docker.io/library/golang:1", "docker.io", "library/golang", "1", None),
        ("index.docker.io/golang", "docker.io", "library/golang", "latest", None),
        ("index.docker.io/acme/app", "docker.io", "acme/app", "latest", None),
        ("acme/app", "docker.io", "acme/app", "latest", None),
        ("a/b/c:1", "docker.io", "a/b/c", "1", None),
        ("localhost/app", "localhost", "app", "latest", None),
        ("localhost:5000/app:1", "localhost:5000", "app", "1", None),
        ("registry:5000/app", "registry:5000", "app", "latest", None),
        ("registry.acme.example/app", "registry.acme.example", "app", "latest", None),
        ("[::1]:5000/app", "[::1]:5000", "app", "latest", None),
        (
            "Acme/app",
            "Acme",
            "app",
            "latest",
            None,
        ),  # a host: no user of Docker Hub is in upper case (20.10 refuses)
        ("app:5000", "docker.io", "library/app", "5000", None),  # no slash: a tag, not a port
        (f"golang@{DIGEST}", "docker.io", "library/golang", None, DIGEST),
        (f"golang:1.24@{DIGEST}", "docker.io", "library/golang", "1.24", DIGEST),
        ("a__b/c-----d/e.f:A_b-c.D", "docker.io", "a__b/c-----d/e.f", "A_b-c.D", None),
    ],
)
def test_a_reference_is_taken_for_what_docker_takes_it_for(
    text: str, registry: str, repository: str, tag: str | None, digest: str | None
) -> None:
    assert parse_reference(text) == Reference(
        registry=registry, repository=repository, tag=tag, digest=digest
    )


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "Golang", "acme/App", "golang:", "golang:1.24\n", "golang 1", "golang:-x", "golang@sha256:1",
        "golang@md5:" + "0" * 32, "golang@" + DIGEST.upper(), "0123456789abcdef" * 4, "https://golang",
        "a//b", "/a", "a/", "-a", "a-", "a...b", "a___b", "golang:" + "x" * 129, "a" * 300, "gölang", "$BASE",
        "{{ x }}", "a" * 100_000,
    ],
)  # fmt: skip
def test_what_docker_refuses_is_refused_and_never_taken_for_something_else(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_reference(text)
    assert resolve_reference(text).served_by == "unknown"


# The grammar of distribution/reference (reference.go), each part on its own.
ALNUM = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=6)
SEPARATOR = st.sampled_from([".", "_", "__", "-", "---"])
COMPONENT = st.builds(
    lambda first, rest: first + "".join(map("".join, rest)),
    ALNUM,
    st.lists(st.tuples(SEPARATOR, ALNUM), max_size=2),
)
PATH = st.lists(COMPONENT, min_size=1, max_size=3).map("/".join)
PORT = st.one_of(st.just(""), st.integers(0, 99_999).map(":{}".format))
HOST = st.one_of(
    st.builds(
        "{}.{}{}".format, st.from_regex("[a-zA-Z0-9](-?[a-zA-Z0-9]){0,5}", fullmatch=True), ALNUM, PORT
    ),
    st.builds("{}:{}".format, ALNUM, st.integers(0, 99_999)),
    st.builds("localhost{}".format, PORT),
    st.builds("[{}]{}".format, st.ip_addresses(v=6), PORT),
)
TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)
SHA = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format)


@given(
    HOST.filter(lambda host: host not in ("docker.io", "index.docker.io")),
    PATH,
    st.none() | TAG,
    st.none() | SHA,
)
def test_the_parts_of_any_reference_come_back(
    host: str, path: str, tag: str | None, digest: str | None
) -> None:
    text = f"{host}/{path}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    whole = Reference(
        registry=host, repository=path, tag=tag or (None if digest else "latest"), digest=digest
    )
    assert parse_reference(text) == whole


@given(st.sampled_from(["", "docker.io/", "index.docker.io/"]), PATH, TAG)
def test_a_name_without_a_host_is_docker_hubs_and_of_one_part_official(hub: str, path: str, tag: str) -> None:
    first, slash, _ = path.partition("/")
    if slash and not hub and ("." in first or first == "localhost"):
        return  # that is a host
    found = parse_reference(f"{hub}{path}:{tag}")
    assert (found.registry, found.tag) == ("docker.io", tag)
    assert found.repository == (path if slash else f"library/{path}")
    if "." not in first and first != "localhost":
        assert parse_reference(f"{found.name}:{tag}") == found


@given(st.one_of(st.text(), st.text("aZ0.:/@-_[]$ \n", max_size=30)))
def test_any_text_is_a_reference_or_refused_with_a_reason(text: str) -> None:
    found = resolve_reference(text)
    if found.served_by == "unknown":
        assert (found.reason or "").startswith("docker refuses it: ")
        assert found.parsed is None
    elif text != "scratch":
        assert text.isprintable()
        assert " " not in text


@pytest.mark.parametrize(
    ("reference", "served_by", "reason"),
    [
        ("golang:1.24-bookworm", "golden", None),
        ("docker.io/library/golang:1.24-bookworm", "golden", None),
        ("index.docker.io/golang:1.24-bookworm", "golden", None),
        ("debian:trixie", "golden", None),
        ("acme/base:2", "golden", None),
        ("europe-docker.pkg.dev/acme-ci/mirror/library/golang:1.24-bookworm", "golden", None),
        ("europe-docker.pkg.dev/acme-ci/mirror/ghcr.io/acme/tools:1", "golden", None),
        ("golang:1.24", "cache", "no golden version of this tag"),
        ("golang", "cache", "no golden version of this tag"),
        ("node:22", "cache", "no golden version"),
        ("library/base:2", "cache", "no golden version"),
        ("europe-docker.pkg.dev/acme-ci/mirror/golang:1.24-bookworm", "cache", "no golden version"),
        ("mirror/library/golang:1.24-bookworm", "cache", "no golden version"),
        (f"golang@{DIGEST}", "bypassed", "pinned by digest"),
        (f"golang:1.24-bookworm@{DIGEST}", "bypassed", "pinned by digest"),
        ("ghcr.io/acme/tools:1", "bypassed", "from ghcr.io, for which no mirror is asked"),
        ("localhost:5000/golang", "bypassed", "from localhost:5000, for which no mirror is asked"),
        ("scratch", "bypassed", "empty: nothing is pulled"),
    ],
)  # fmt: skip
def test_the_mirror_serves_docker_hubs_tags_and_nothing_else(
    reference: str, served_by: str, reason: str | None
) -> None:
    found = resolve_reference(reference, parse_catalogue(CATALOGUE))
    assert (found.served_by, found.reason) == (served_by, reason)


def test_the_command_says_it_as_a_table_and_as_json_lines(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CATALOGUE)
    references = ("golang:1.24-bookworm", f"golang@{DIGEST}", "Golang\x1b[31m")
    table = run("golden", "resolve", *references, "--catalogue", "c.yaml", cwd=tmp_path)
    assert table.returncode == 0, table.stderr
    assert "pinned by digest" in table.stdout
    assert "\x1b[31m" not in table.stdout
    lines = run("golden", "resolve", *references, "--catalogue", "c.yaml", "--json", cwd=tmp_path).stdout
    assert [json.loads(line)["served_by"] for line in lines.splitlines()] == ["golden", "bypassed", "unknown"]
    assert json.loads(lines.splitlines()[0]) == {
        "reference": "golang:1.24-bookworm", "image": "golang", "image_tag": "1.24-bookworm",
        "image_digest": None, "registry": "docker.io", "served_by": "golden", "reason": None,
    }  # fmt: skip


def test_without_its_catalogue_the_command_says_what_it_lacks(tmp_path: Path) -> None:
    done = run("golden", "resolve", "golang", "--catalogue", "none.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert "none.yaml cannot be read" in done.stderr
