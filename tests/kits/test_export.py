"""Kits are written out whole, with every value checked and escaped for the file that it goes to."""

from __future__ import annotations

import json
import shlex
import stat
import subprocess
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

import ciforensics as ci
from ciforensics.errors import CiforensicsError
from ciforensics.kits import export as kits
from ciforensics.kits.kinds import (
    AbsolutePath,
    Flag,
    Host,
    ImageReference,
    Label,
    Port,
    Quantity,
    SettingKind,
    Text,
    choice,
)
from ciforensics.kits.kit import File, Kit, Only, Settings, key, kind_of
from ciforensics.kits.squid import Allowed
from ciforensics.sources import all_sources
from program import run

ALL = kits.all_kits()
ONE_LINE = st.text(st.characters().filter(str.isprintable), min_size=1)


class MadeUp(Settings):
    """The keys of a kit that is not there."""

    text: Text = key("any text")
    sink: Annotated[str, choice("file", "topic")] = key("where to", "file")
    topic: Label | None = key("its name", only=Only("sink", ("topic",)))


def made_up(folder: Path, **files: str) -> Kit:
    """A kit of these templates; `_` in a name stands for its dot."""
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return Kit(
        summary="nothing",
        folder=folder,
        settings=MadeUp,
        files={name.replace("_", "."): File() for name in files},
        source="squid",
    )


def takes(kind: Any, text: str) -> bool:
    """Whether a text is such a value."""
    try:
        TypeAdapter(kind).validate_python(text)
    except ValidationError:
        return False
    return True


def expects(kind: Any) -> SettingKind:
    """What such a type says of itself."""
    expected: SettingKind = get_args(kind)[1]
    return expected


def needed(kit: Kit) -> dict[str, str]:
    """A value for each key that must be given."""
    fields = kit.settings.model_fields.items()
    conditions = kit.settings.conditions()
    return {
        name: kind_of(field).example
        for name, field in fields
        if field.is_required() and name not in conditions
    }


@pytest.mark.parametrize("kit", ALL, ids=lambda kit: kit.name)
def test_every_kit_is_written_with_what_must_be_given_and_says_how_it_is_used(
    kit: Kit, tmp_path: Path
) -> None:
    written = kits.export_kit(kit.name, tmp_path / "kit", settings=needed(kit))
    assert tmp_path / "kit" / "README.md" in written
    assert {path for path in (tmp_path / "kit").rglob("*") if path.is_file()} == set(written)
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert "@{" not in text
        assert "@%" not in text
        mode = path.stat().st_mode
        # What is written for each of several things keeps its name, in a folder for each.
        (template,) = (name for name in kit.files if str(path).endswith(f"/{name}"))
        assert bool(mode & stat.S_IXUSR) == kit.files[template].executable
        assert text.startswith("#!") or not mode & stat.S_IXUSR


@pytest.mark.parametrize("kit", ALL, ids=lambda kit: kit.name)
def test_every_file_of_a_kit_is_in_its_list(kit: Kit) -> None:
    there = {path.relative_to(kit.folder).as_posix() for path in kit.folder.rglob("*") if path.is_file()}
    python = {name for name in there if name.endswith((".py", ".pyc"))}
    elsewhere = {name: file.taken_from for name, file in kit.files.items() if file.taken_from}
    assert all(path.is_file() for path in elsewhere.values())
    assert there - python <= kit.files.keys() - elsewhere.keys() <= there


@pytest.mark.parametrize("kit", [kit for kit in ALL if kit.source], ids=lambda kit: kit.name)
def test_the_line_that_a_page_shows_is_read_by_its_source_without_an_option(kit: Kit, tmp_path: Path) -> None:
    assert kit.source in {source.name for source in all_sources()}
    kits.export_kit(kit.name, tmp_path / "kit", settings=needed(kit))
    page = (tmp_path / "kit" / "README.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.lstrip().startswith('{"')]
    assert lines
    (tmp_path / "log").write_text("".join(line.strip() + "\n" for line in lines))
    (report,) = ci.ingest([tmp_path / "log"], case=tmp_path / "case.duckdb")
    assert (report.source, report.rejected, report.rows) == (kit.source, 0, len(lines))


def test_the_list_names_every_kit_and_key(tmp_path: Path) -> None:
    shown = run("capture", "list", cwd=tmp_path).stdout
    for kit in ALL:
        assert kit.name in shown
        assert all(name[:10] in shown for name in kit.settings.model_fields)


def test_a_kit_is_exported_from_the_command_line(tmp_path: Path) -> None:
    done = run(
        "capture", "export", "docker-wrapper", "out", "--set", "docker=/opt/it's here/docker", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert Path("out/docker-wrapper.sh").as_posix() in done.stdout
    script = (tmp_path / "out" / "docker-wrapper.sh").read_text()
    assert shlex.quote("/opt/it's here/docker") in script


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dockerwrapper"], "did you mean docker-wrapper?"),
        (["nonsense"], "there are docker-events"),
        (["docker-wrapper", "--set", "docer=/x"], "did you mean docker?"),
        (["docker-wrapper", "--set", "docker=relative/path"], "is not an absolute path"),
        (["docker-wrapper", "--set", "docker=/bin/a\nb"], "is not an absolute path"),
        (["docker-wrapper", "--set", "sink=elsewhere"], "is not one of file, "),
        (["docker-wrapper", "--set", "sink=pubsub"], "give --set"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    name, *settings = arguments
    done = run("capture", "export", name, "out", *settings, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Hint:" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(CiforensicsError, match="is there already"):
        kits.export_kit("docker-wrapper", tmp_path / "out", settings={})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_key_is_wanted_only_where_it_has_an_effect(tmp_path: Path) -> None:
    kit = made_up(tmp_path)
    assert dict(kits.read_settings(kit, {"text": "x"}))["topic"] is None
    with pytest.raises(CiforensicsError, match=r"cannot know topic \(its name\)"):
        kits.read_settings(kit, {"text": "x", "sink": "topic"})
    with pytest.raises(CiforensicsError, match="has no effect with sink=file"):
        kits.read_settings(kit, {"text": "x", "topic": "a"})
    with pytest.raises(CiforensicsError, match=r"cannot know text .*, topic "):
        kits.read_settings(kit, {"sink": "topic"})


@given(text=ONE_LINE)
def test_a_value_arrives_as_it_is_in_shell_yaml_and_json(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("kit")
    kit = made_up(
        folder,
        a_sh='x=@{ text }@\nprintf %s "$x"',
        a_yaml="- a: @{ text }@ # why\n",
        a_json='{"a": @{ text }@}',
    )
    values = dict(kits.read_settings(kit, {"text": text}))
    shell = subprocess.run(
        ["/bin/sh", "-c", kits.rendered(kit, "a.sh", values)], capture_output=True, check=True, timeout=20
    )
    assert shell.stdout == text.encode()
    assert yaml.safe_load(kits.rendered(kit, "a.yaml", values)) == [{"a": text}]
    assert json.loads(kits.rendered(kit, "a.json", values)) == {"a": text}


@pytest.mark.parametrize("text", ["a b", "a;b", "a#b", 'a"b', "ä", "a\\b", "$(a)"])
def test_where_nothing_can_be_quoted_only_plain_values_are_taken(text: str, tmp_path: Path) -> None:
    kit = made_up(tmp_path, a_conf="log @{ text }@\n")
    with pytest.raises(CiforensicsError, match="letters, digits"):
        kits.rendered(kit, "a.conf", dict(kits.read_settings(kit, {"text": text})))


def test_terraform_does_not_evaluate_a_value(tmp_path: Path) -> None:
    kit = made_up(tmp_path, a_tf="name = @{ text }@\n")
    values = dict(kits.read_settings(kit, {"text": '${file("/etc/passwd")} %{if true}'}))
    assert kits.rendered(kit, "a.tf", values) == 'name = "$${file(\\"/etc/passwd\\")} %%{if true}"\n'


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (AbsolutePath, ["/a", "/a b/c"], ["a", "/", "//a", "/a/", "/a/../b", "/a\x00b", "/a\x85", ""]),
        (Label, ["a", "a-1"], ["A", "-a", "a-", "a.b", "a" * 64, ""]),
        (Host, ["h", "a.b-c.d", "10.0.0.1", "fd00::1"], ["a b", "-a", "a/b", "a..b", "", f"{'a' * 60}_"]),
        (Port, ["1", "65535"], ["0", "65536", "-1", "1e3", "٣", ""]),
        (
            ImageReference,
            ["a", "a.b:5000/c/d:1.2", "a@sha256:" + "0" * 64],
            ["A b", "a b", "a@sha256:1", "-a", ""],
        ),
        (Quantity, ["1", "100m", "64Mi"], ["1.5", "64MB", "-1", "Mi", ""]),
        (
            Allowed,
            ["", "10.0.0.0/8", "10.0.0.0/8, fd00::/8"],
            ["10.0.0.1/8", "a", "10.0.0.0/33", "10.0.0.0/8;x"],
        ),
        (Flag, ["yes", "no"], ["true", "1", "YES", ""]),
        (Text, ["a", "ä b"], ["", "a\nb", "a\u2028b", "\x1b[1m"]),
    ],
    ids=lambda kind: "" if isinstance(kind, list) else expects(kind).meaning,
)
def test_each_kind_takes_what_fits_and_refuses_the_rest(kind: Any, good: list[str], bad: list[str]) -> None:
    assert [text for text in (*good, expects(kind).example) if not takes(kind, text)] == []
    assert [text for text in bad if takes(kind, text)] == []
