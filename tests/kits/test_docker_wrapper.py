"""The docker wrapper's kit, as far as /bin/sh can show it: what is logged, installed, and read again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import polars as pl
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ciforensics as ci
from ciforensics.errors import CiforensicsError
from ciforensics.formats.docker import find_subcommands
from ciforensics.kits import export as kits

SECRET = "hunter2hunter2"


def program(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)
    return path


def called(folder: Path, *arguments: str) -> dict[str, Any]:
    """The line about one call."""
    log = folder / "log"
    if not (folder / "kit").exists():
        real = program(folder / "docker.original", "docker")
        kits.export_kit("docker-wrapper", folder / "kit", settings={"docker": str(real), "log": str(log)})
    log.unlink(missing_ok=True)
    subprocess.run(["/bin/sh", folder / "kit" / "docker-wrapper.sh", *arguments], check=True, timeout=60)
    line: dict[str, Any] = json.loads(log.read_text())
    return line


@pytest.mark.parametrize(
    "words",
    [
        ["build", "--build-arg", f"X={SECRET}", "."],
        ["build", f"--build-arg=X={SECRET}", "."],
        ["run", "-e", f"X={SECRET}", "alpine"],
        ["run", "-ite", f"X={SECRET}", "alpine"],
        ["run", f"-eX={SECRET}", "alpine"],
        ["run", f"--env=X={SECRET}", "alpine"],
        ["login", "-u", "me", "-p", SECRET],
        ["login", f"-p{SECRET}"],
        ["-Dl", "debug", "login", "-p", SECRET],
        ["login", "--password", SECRET],
        ["login", f"--password={SECRET}"],
        ["swarm", "join", "--token", SECRET],
        ["build", f"https://me:{SECRET}@github.com/a/b.git"],
        ["build", f"https://{SECRET}@github.com/a/b.git"],
        ["-H", f"tcp://me:{SECRET}@host:2376", "ps"],
        ["run", "a", "curl", "-H", f"Authorization: Bearer {SECRET}"],
        ["run", "a", "curl", "-u", f"me:{SECRET}"],
        ["run", "a", "curl", f"--user=me:{SECRET}"],
        ["run", "a", "sh", "-c", f"curl -u me:{SECRET} host"],
        ["run", "a", "sh", "-c", f"curl --user 'me:{SECRET}' host"],
        ["run", "a", "sh", "-c", f"curl --user=me:{SECRET} host"],
        ["run", "a", "sh", "-c", f"npm login --password {SECRET}"],
        ["compose", "exec", "-Te", f"X={SECRET}", "web", "x"],
        ["buildx", "bake", "--set", f"*.args.X={SECRET}"],
        ["buildx", "bake", f"--set=*.args.X={SECRET}"],
        ["run", "a", "sh", "-c", f"export API_KEY={SECRET}; run"],
        ["run", "a", "echo", f"ghp_{SECRET}", f"x-github_pat_{SECRET}"],
        ["buildx", "build", "--cache-to", f"type=gha,token={SECRET}", "."],
        ["run", "--log-opt", f"splunk-token={SECRET}", "a"],
        ["run", "a", "x", f'{{"password": "{SECRET}"}}'],
    ],
    ids=" ".join,
)
def test_a_secret_never_reaches_the_log(words: list[str], tmp_path: Path) -> None:
    line = called(tmp_path, *words)
    assert SECRET not in json.dumps(line)
    assert len(line["args"]) == len(words)


@pytest.mark.parametrize(
    ("words", "image"),
    [
        (["run", "--rm", "-it", "-p", "80:80", "--name", "x", "alpine:3", "ls", "-l"], "alpine:3"),
        (["container", "run", "-dp80:80", "--network=none", "a/b@sha256:12", "x"], "a/b@sha256:12"),
        (["create", "--", "alpine"], "alpine"),
        (["pull", "-q", "--platform", "linux/arm64", "golang:1.24"], "golang:1.24"),
        (["--config", "/x", "image", "push", "a/b:1"], "a/b:1"),
        (["tag", "a", "b"], "a"),
        (["buildx", "build", "--tag=a:1", "-t", "b:1", "."], "a:1"),
        (["build", "-ta:1", "."], "a:1"),
        (["ps", "-a"], ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_the_image_of_a_command_is_found_behind_its_options(
    words: list[str], image: str, tmp_path: Path
) -> None:
    line = called(tmp_path, *words)
    assert line["image"] == image
    assert line["args"] == words


def test_what_says_where_a_secret_is_stays(tmp_path: Path) -> None:
    words = ["build", "--secret", "id=npm,env=NPM_TOKEN", "--secret=id=x,src=/x", "--ssh", "default", "."]
    assert called(tmp_path, *words)["args"] == words
    words = ["run", "--env-file", ".env", "-e", "CI", "-p", "80:80", "-u", "1000:1000", "alpine"]
    assert called(tmp_path, *words)["args"] == words


WORDS = st.sampled_from(
    (
        *("--context x", "--host=y", "-Hz", "-D", "--tls", "--builder x", "-t", "a/b", "-v", "--version"),
        *("buildx", "builder", "image", "container", "build", "b", "pull", "run", "exec", "ls", "compose"),
    )
).map(str.split)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=st.lists(WORDS, min_size=1, max_size=6))
def test_the_subcommand_means_what_it_means_to_ingest(groups: list[list[str]], tmp_path: Path) -> None:
    words = [word for several in groups for word in several]
    (meant,) = find_subcommands(pl.Series([" ".join(words)])).to_list()
    found = called(tmp_path, *words)["subcommand"]
    # A line of nothing but options says nothing; both then name one of them.
    assert found == meant or (found.startswith("-") and meant.startswith("-"))


def entries(lines: list[str]) -> list[dict[str, Any]]:
    """As Cloud Logging has them."""
    return [
        {
            "insertId": f"i{n}",
            "jsonPayload": json.loads(line),
            "logName": "projects/acme-ci/logs/docker-wrapper",
            "receiveTimestamp": "2026-11-24T13:26:10.1Z",
            "resource": {"labels": {"project_id": "acme-ci"}, "type": "global"},
            "timestamp": "2026-11-24T13:26:10.1Z",
        }
        for n, line in enumerate(lines)
    ]


def rows(kind: str, lines: list[str]) -> str:
    """What comes back."""
    if kind == "gcloud logging read":
        return json.dumps(entries(lines), indent=2) + "\n"
    if kind == "bigquery, data as text":
        made = [
            {"subscription_name": "s", "message_id": "1", "publish_time": "2026-11-24 13:26:10 UTC",
             "data": line, "attributes": "{}"}
            for line in lines
        ]  # fmt: skip
    elif kind == "bigquery, a column for each key":  # exports have INT64 as text, and times in this form
        made = [
            {**(line := json.loads(text)), "pid": str(line["pid"]),
             "ts": line["ts"].replace("T", " ").replace("Z", " UTC")}
            for text in lines
        ]  # fmt: skip
    else:
        made = entries(lines)
    return "".join(json.dumps(each) + "\n" for each in made)


@pytest.mark.parametrize(
    "kind",
    [
        "gcloud logging read",
        "cloud logging, exported",
        "bigquery, data as text",
        "bigquery, a column for each key",
    ],
)
def test_what_comes_back_from_a_sink_is_ingested_whole(kind: str, tmp_path: Path) -> None:
    lines = [json.dumps(called(tmp_path, "build", "-t", tag, 'say "x" 🚀')) for tag in ("a:1", "b:1", "c:1")]
    (tmp_path / "export.json").write_text(rows(kind, lines))
    (report,) = ci.ingest([tmp_path / "export.json"], case=tmp_path / "case.duckdb")
    assert (report.source, report.rows, report.rejected) == ("docker_wrapper", 3, 0)
    with ci.connect(tmp_path / "case.duckdb") as con:
        found = con.sql("SELECT command, image, salvaged FROM invocations ORDER BY image").fetchall()
    assert found == [("build", tag, False) for tag in ("a:1", "b:1", "c:1")]


class Place:
    """A folder with docker in it, and the kit for it."""

    def __init__(self, folder: Path) -> None:
        self.wrapper, self.docker = folder / "bin" / "docker", folder / "bin" / "docker.original"
        self.log = folder / "log" / "docker.jsonl"
        self.kit = folder / "kit"
        kits.export_kit("docker-wrapper", self.kit, settings={
            "wrapper": str(self.wrapper), "docker": str(self.docker), "log": str(self.log)
        })  # fmt: skip
        program(self.wrapper, "one")

    def install(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", self.kit / "install.sh", *arguments],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def says(self) -> str:
        return subprocess.run([self.wrapper], capture_output=True, text=True, check=True, timeout=60).stdout


def test_installing_twice_is_installing_once_and_undo_leaves_docker_alone(tmp_path: Path) -> None:
    place = Place(tmp_path)
    was = place.wrapper.read_bytes()
    assert place.install("status").returncode == 1
    for _ in range(2):
        assert place.install().returncode == 0
        assert place.install("status").returncode == 0
        assert place.says() == "one\n"
    assert place.log.stat().st_mode & 0o777 == 0o666
    assert len(place.log.read_text().splitlines()) == 2
    for _ in range(2):
        done = place.install("undo")
    assert done.returncode == 1 or place.wrapper.exists()
    assert place.wrapper.read_bytes() == was
    assert sorted(path.name for path in place.wrapper.parent.iterdir()) == ["docker"]


def test_an_upgrade_of_docker_is_wrapped_again(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.install()
    program(tmp_path / "new", "two").replace(place.wrapper)
    assert "docker again" in place.install("status").stderr
    assert place.install().returncode == 0
    assert place.says() == "two\n"
    program(tmp_path / "new", "three").replace(place.wrapper)
    assert place.install("undo").returncode == 0
    assert place.says() == "three\n"
    assert not place.docker.exists()


def test_a_docker_that_is_a_link_stays_one(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.wrapper.unlink()
    program(tmp_path / "opt" / "docker", "linked")
    place.wrapper.symlink_to("../opt/docker")
    assert place.install().returncode == 0
    assert place.docker.readlink() == Path("../opt/docker")
    assert place.says() == "linked\n"
    assert place.install("undo").returncode == 0
    assert place.wrapper.readlink() == Path("../opt/docker")


def test_without_docker_nothing_is_installed_and_it_says_why(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.wrapper.unlink()
    done = place.install()
    assert (done.returncode, "there is no docker" in done.stderr) == (1, True)
    assert not place.wrapper.exists()
    assert "what is sideways?" in place.install("sideways").stderr


def test_only_the_files_of_the_chosen_sink_are_written(tmp_path: Path) -> None:
    always = {"README.md", "docker-wrapper.sh", "install.sh"}
    for sink, more, also in (
        ("file", {}, {"fluent-bit.conf"}),
        ("cloud-logging", {"project": "acme-ci"}, set()),
        ("pubsub", {"project": "acme-ci"}, {"main.tf", "table-schema.json"}),
    ):
        written = kits.export_kit("docker-wrapper", tmp_path / sink, settings={"sink": sink, **more})
        assert {path.name for path in written} == always | also
    schema = json.loads((tmp_path / "pubsub" / "table-schema.json").read_text())
    assert "data" in {column["name"] for column in schema}


IN_A_POD = {
    "deploy": "init-container",
    "docker": "/opt/ci/docker.original",
    "wrapper": "/opt/ci/docker",
    "log": "/opt/ci/docker-wrapper.jsonl",
}


def test_in_a_pod_docker_and_wrapper_go_into_a_volume_that_is_first_on_the_path(tmp_path: Path) -> None:
    written = kits.export_kit("docker-wrapper", tmp_path / "kit", settings=IN_A_POD)
    assert {path.name for path in written} == {
        "README.md",
        "docker-wrapper.sh",
        "fluent-bit.conf",
        "init-container.yaml",
    }
    values = (tmp_path / "kit" / "init-container.yaml").read_text()
    pod = yaml.safe_load(values.replace("/home/runner/run.sh", "printenv PATH"))["template"]["spec"]
    kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", "spec": pod}, "1.31", strict=True)
    (copies,), (runner,) = pod["initContainers"], pod["containers"]
    assert {mount["name"] for mount in copies["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
    assert {"name": "ciforensics", "mountPath": "/opt/ci"} in runner["volumeMounts"]
    path = subprocess.run(runner["command"], env={"PATH": "/own:/bin"}, capture_output=True, check=True)
    assert path.stdout == b"/opt/ci:/own:/bin\n"


@pytest.mark.parametrize("there", [True, False])
def test_a_pod_starts_whether_or_not_there_is_a_docker(there: bool, tmp_path: Path) -> None:
    kits.export_kit("docker-wrapper", tmp_path / "kit", settings=IN_A_POD)
    values = (tmp_path / "kit" / "init-container.yaml").read_text()
    (copies,) = yaml.safe_load(values)["template"]["spec"]["initContainers"]
    command = [each.replace("/wrapper/", f"{tmp_path}/kit/") for each in copies["command"]]
    if there:
        program(tmp_path / "bin" / "docker", "docker")
    into = tmp_path / "into"
    into.mkdir()
    env = {"PATH": f"{tmp_path}/bin:/nowhere", "REAL": f"{into}/docker.original", "WRAPPER": f"{into}/docker"}
    for name in ("cp", "chmod", "mv"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).symlink_to(f"/bin/{name}")
    subprocess.run(["/bin/sh", *command[1:]], env=env, check=True)
    assert {each.name for each in into.iterdir()} == ({"docker", "docker.original"} if there else set())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"docker": "/usr/bin/docker"}, "go into one new folder"),
        ({"docker": "/usr/bin/docker.original", "wrapper": "/usr/bin/docker"}, "go into one new folder"),
        ({"log": "/var/log/docker-wrapper.jsonl"}, "goes into /opt/ci"),
        ({"wrapper": "/opt/ci/docker.original"}, "one stands in front of the other"),
    ],
)
def test_paths_that_cannot_work_in_a_pod_are_refused(
    changed: dict[str, str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(CiforensicsError, match=said):
        kits.export_kit("docker-wrapper", tmp_path / "kit", settings=IN_A_POD | changed)
