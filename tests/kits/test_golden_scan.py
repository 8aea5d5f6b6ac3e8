"""`ciforensics golden scan` on trees as they are found on disks."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

import ciforensics as ci
from program import run

if TYPE_CHECKING:
    from pathlib import Path

CATALOGUE = """
organisations: [acme]
mirror: europe-docker.pkg.dev/acme-ci/mirror
images: [golang:1.24-bookworm]
"""
DIGEST = "sha256:" + "0" * 64


def write(tree: Path, **files: str) -> None:
    for name, text in files.items():
        path = tree / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def scanned(tree: Path, *options: str) -> list[dict[str, Any]]:
    done = run("golden", "scan", "tree", "--json", *options, cwd=tree.parent)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    (tmp_path / "c.yaml").write_text(CATALOGUE)
    return tmp_path / "tree"


def test_every_dockerfile_is_read_whatever_kind_of_name_it_has(tree: Path) -> None:
    for name in (
        *(
            "Dockerfile",
            "Dockerfile.dev",
            "api.Dockerfile",
            "Containerfile",
            "sub/dir/dockerfile",
            "Dockerfile-x",
        ),
        *("Dockerfile.dockerignore", "NotADockerfile", "Dockerfiles", "readme.md", ".git/Dockerfile"),
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("FROM a\n")
    assert [row["dockerfile"] for row in scanned(tree)] == [
        *(
            "Containerfile",
            "Dockerfile",
            "Dockerfile-x",
            "Dockerfile.dev",
            "api.Dockerfile",
            "sub/dir/dockerfile",
        ),
    ]


def test_a_single_file_is_read_whatever_it_is_called(tree: Path) -> None:
    write(tree, anything="FROM a\n")
    done = run("golden", "scan", "tree/anything", "--json", cwd=tree.parent)
    assert json.loads(done.stdout)["dockerfile"] == "anything"


def test_the_table_ends_with_what_the_mirror_would_reach(tree: Path) -> None:
    stages = f"FROM x\nFROM node:22\nFROM ghcr.io/a/b\nFROM a@{DIGEST}\nFROM $B\nFROM scratch\n"
    text = f"ARG B\nFROM golang:1.24-bookworm AS x\n{stages}"
    write(
        tree,
        a__Dockerfile=text,
        b__Dockerfile="FROM node:20\nCOPY --from=busybox / /\n",
        c__Dockerfile="oops\n",
    )
    done = run("golden", "scan", "tree", "--catalogue", "c.yaml", cwd=tree.parent)
    *_, read, reached, past, golden, wanting = done.stdout.splitlines()
    assert "c/Dockerfile:1: unknown instruction: oops" in done.stdout
    assert read == "2 Dockerfiles read, 1 not; 6 images in FROM, stages and scratch aside"
    assert reached == "the mirror reaches 3 of 5 (60%): golden 1, cache 2"
    assert past == "past it go 1 pinned by digest and 1 from other registries; 1 are unknown"
    assert golden == "Dockerfiles with a golden image: 1 of 2 (50%)"
    assert wanting == "without a golden version, the most used first: node 2"


def test_without_a_catalogue_nothing_is_golden_and_without_images_nothing_is_shared(tree: Path) -> None:
    write(tree, Dockerfile="FROM golang:1.24-bookworm\n")
    assert [row["served_by"] for row in scanned(tree)] == ["cache"]
    write(tree, Dockerfile="FROM scratch\n")
    done = run("golden", "scan", "tree", cwd=tree.parent)
    assert done.stdout.endswith("1 Dockerfiles read, 0 not; 0 images in FROM, stages and scratch aside\n")


@pytest.mark.parametrize(
    "url",
    [
        "git@github.com:acme/web.git",
        "https://github.com/acme/web",
        "https://x-access-token:SECRET@github.com/acme/web.git",
        "ssh://git@github.com:22/acme/web.git/",
    ],
)
def test_the_repository_is_what_gits_remote_says_and_no_more_of_it(tree: Path, url: str) -> None:
    config = f'[core]\n\tbare = false\n[remote "up"]\n\turl = git@x:no/no\n[remote "origin"]\n\turl = {url}\n'
    write(tree, **{"web__.git__config": config}, web__deploy__Dockerfile="FROM a\n")
    assert [(row["ci_repo"], row["dockerfile"]) for row in scanned(tree)] == [
        ("acme/web", "deploy/Dockerfile")
    ]
    done = run("golden", "scan", "tree/web/deploy", "--json", cwd=tree.parent)
    assert json.loads(done.stdout)["ci_repo"] == "acme/web"
    assert "SECRET" not in done.stdout


def test_a_submodule_and_a_work_tree_find_the_repository_that_they_belong_to(tree: Path) -> None:
    write(
        tree,
        **{
            "main__.git__config": '[remote "origin"]\n url = git@x:acme/main\n',
            "main__.git__worktrees__w__commondir": "../..\n",
            "main__.git__modules__lib__config": '[remote "origin"]\n url = git@x:acme/lib\n',
            "main__lib__.git": "gitdir: ../.git/modules/lib\n",
            "w__.git": "gitdir: ../main/.git/worktrees/w\n",
            "odd__.git": "gitdir: nowhere\n",
        },
        main__Dockerfile="FROM a\n", main__lib__Dockerfile="FROM b\n", w__Dockerfile="FROM c\n",
        odd__Dockerfile="FROM d\n",
    )  # fmt: skip
    found = {row["image"]: (row["ci_repo"], row["dockerfile"]) for row in scanned(tree)}
    assert found == {
        "a": ("acme/main", "Dockerfile"),
        "b": ("acme/lib", "Dockerfile"),
        "c": ("acme/main", "Dockerfile"),
        "d": (None, "Dockerfile"),
    }


def test_folders_name_the_repository_only_when_they_are_said_to(tree: Path) -> None:
    write(tree, acme__web__x__Dockerfile="FROM a\n", acme__Dockerfile="FROM b\n")
    assert [row["ci_repo"] for row in scanned(tree)] == [None, None]
    found = [(row["ci_repo"], row["dockerfile"]) for row in scanned(tree, "--by-folder")]
    assert found == [(None, "acme/Dockerfile"), ("acme/web", "x/Dockerfile")]
    assert {row["ci_repo"] for row in scanned(tree, "--repo", "acme/mono")} == {"acme/mono"}
    refused = run("golden", "scan", "tree", "--repo", "acme", cwd=tree.parent)
    assert (refused.returncode, "--repo" in refused.stderr) == (1, True)


def test_a_folder_whose_name_is_no_text_is_shown_as_far_as_it_is(tree: Path) -> None:
    folder = tree / os.fsdecode(b"acm\xff") / "web"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM a\n")
    assert [row["ci_repo"] for row in scanned(tree, "--by-folder")] == ["acm\ufffd/web"]


def test_what_cannot_be_read_is_said_and_the_rest_is_read(tree: Path) -> None:
    write(tree, Dockerfile="FROM a\n", **{"Dockerfile.large": "#" * (1 << 20) + "\nFROM b\n"})
    os.mkfifo(tree / "Dockerfile.fifo")
    (tree / "Dockerfile.dir").mkdir()
    (tree / "Dockerfile.dir" / "Dockerfile").write_text("FROM c\n")
    (tree / "Dockerfile.dir" / "up").symlink_to("..")
    (tree / "Dockerfile.loop").symlink_to("Dockerfile.loop")
    (tree / "Dockerfile.link").symlink_to("/etc/hostname")
    (tree / "Dockerfile.binary").write_bytes(bytes(range(256)))
    (tree / "Dockerfile.latin").write_bytes(b"# caf\xe9\nFROM d\n")
    (tree / os.fsdecode(b"Dockerfile.\xff\x1b[2J\n")).write_text("FROM e\n")
    found = scanned(tree)
    assert [row["image"] for row in found if "image" in row] == ["a", "d", "e", "c"]
    said = {row["dockerfile"]: row["error"] for row in found if "error" in row}
    assert said == {
        "Dockerfile.large": "larger than 1,048,576 bytes",
        "Dockerfile.fifo": "no regular file",
        "Dockerfile.loop": "cannot be read: a symbolic link, which is not followed",
        "Dockerfile.link": "cannot be read: a symbolic link, which is not followed",
        "Dockerfile.binary": "there are NULs in it",
    }
    shown = run("golden", "scan", "tree", cwd=tree.parent).stdout
    assert "\x1b" not in shown


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_and_a_file_that_may_not_be_read_are_said(tree: Path) -> None:
    write(tree, Dockerfile="FROM a\n", secret__Dockerfile="FROM b\n", open__Dockerfile="FROM c\n")
    (tree / "secret").chmod(0)
    (tree / "open" / "Dockerfile").chmod(0)
    try:
        found = scanned(tree)
    finally:
        (tree / "secret").chmod(0o755)
    assert [row.get("image", row["dockerfile"]) for row in found] == ["a", "open/Dockerfile", "secret"]


def test_a_tree_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = run("golden", "scan", "none", cwd=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "There is no none.")


def test_what_a_scan_writes_is_ingested_without_an_option(tree: Path) -> None:
    write(
        tree,
        acme__web__Dockerfile="FROM golang:1.24-bookworm\nFROM node:22\nCOPY --from=b / /\nFROM scratch\n",
        acme__pinned__Dockerfile=f"FROM golang:1.24-bookworm@{DIGEST}\n",
        acme__odd__Dockerfile="{{ template }}\n",
    )
    options = ("--by-folder", "--catalogue", "c.yaml", "--json")
    lines = run("golden", "scan", "tree", *options, cwd=tree.parent).stdout
    (tree.parent / "scan.log").write_text(lines)
    [report] = ci.ingest([tree.parent / "scan.log"], case=tree.parent / "case.duckdb")
    assert (report.source, report.rows, report.rejected) == ("dockerfile_scan", 5, 1)
    reach = "SELECT ci_repo, images, golden_images, cached_images, pinned, mirror_share FROM mirror_reach"
    with ci.connect(tree.parent / "case.duckdb") as con:
        assert con.execute(reach).fetchall() == [
            ("acme/pinned", 1, 0, 0, 1, 0.0),
            ("acme/web", 2, 1, 1, 0, 1.0),
        ]
