"""A case to pass on has no name left and the same joins and numbers; its report is searched first."""

from __future__ import annotations

import csv
import ipaddress
import json
import stat
import zipfile
from typing import TYPE_CHECKING

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ciforensics as ci
from ciforensics.case import sample_case, store
from ciforensics.errors import CiforensicsError
from ciforensics.share import Pseudonyms, find_leaks, pseudonymise, write_zip
from ciforensics.share.columns import rule
from ciforensics.share.naming import Namer, public
from ciforensics.tables import TABLES

if TYPE_CHECKING:
    from pathlib import Path

    from cases import Build

KEY = b"the owner's key, of 32 bytes ...".ljust(32)
TOKEN = "zyzzyvaplant"


def _text_columns(con: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    return con.execute(
        """
        SELECT schema_name || '.' || table_name, column_name, data_type FROM duckdb_columns()
        WHERE database_name = current_database() AND data_type IN ('VARCHAR', 'JSON')
            AND (schema_name, table_name) IN (SELECT (schema_name, table_name) FROM duckdb_tables())
        """
    ).fetchall()


def _all_texts(case: Path) -> str:
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{case}' AS evidence (READ_ONLY); USE evidence")
        return "\n".join(
            str(value)
            for table, column, _ in _text_columns(con)
            for (value,) in con.execute(f'SELECT DISTINCT "{column}" FROM {table}').fetchall()
        )


def test_each_text_column_has_a_rule(empty: duckdb.DuckDBPyConnection) -> None:
    for table, column, _ in _text_columns(empty):
        if table != "store.meta":
            rule(table.split(".")[1], column)
    for each in TABLES.values():
        for field in each.columns:
            if field.kind.is_text:
                rule(each.name, field.name)
    with pytest.raises(AssertionError, match=r"requests.secret_project has no rule"):
        rule("requests", "secret_project")


SPELT = (
    *(TOKEN, TOKEN.upper(), f"acme/{TOKEN}", f"x-{TOKEN}_9", f"{TOKEN}.acme.example:443", f"{TOKEN}.git"),
    *(f"git clone https://{TOKEN}@github.com/{TOKEN}?q={TOKEN}#x", f"1.2.{TOKEN}", f"--{TOKEN}=build"),
    *(f"C:\\{TOKEN}", f".github/workflows/{TOKEN}.yml", f"{TOKEN}[bot]", f"[{TOKEN}, 1]", f"%7a{TOKEN}%20b"),
)


def test_what_stands_in_any_column_is_gone(tmp_path: Path) -> None:
    planted, out = tmp_path / "planted.duckdb", tmp_path / "shared.duckdb"
    with duckdb.connect(planted) as con:
        store.create(con)
        for table, column, kind in _text_columns(con):
            if table == "store.meta":
                continue
            for spelt in SPELT:
                value = json.dumps({spelt: [{"name": spelt, "pod": spelt}, 1.5]}) if kind == "JSON" else spelt
                con.execute(f'INSERT INTO {table} ("{column}") VALUES (?)', [value])
    pseudonyms = pseudonymise(planted, out, key=KEY)
    assert TOKEN in _all_texts(planted).lower()
    assert TOKEN.encode() in planted.read_bytes().lower()
    assert TOKEN not in _all_texts(out).lower()
    assert TOKEN.encode() not in out.read_bytes().lower()
    assert TOKEN in {name.lower() for name in pseudonyms.spellings}


def test_rows_ids_and_numbers_are_the_same(tmp_path: Path) -> None:
    out = tmp_path / "shared.duckdb"
    pseudonymise(sample_case(), out, key=KEY)
    raw, shared = ci.connect(sample_case()), ci.connect(out)
    for name, table in TABLES.items():
        numbers = ", ".join(f'"{c.name}"' for c in table.columns if c.type not in {"VARCHAR", "JSON"})
        assert (
            shared.sql(f"SELECT {numbers} FROM {name} ORDER BY ALL").fetchall()
            == raw.sql(f"SELECT {numbers} FROM {name} ORDER BY ALL").fetchall()
        )
    for question in (
        "FROM case_overview",
        "FROM answerable",
        "FROM unauthorized_summary",
        "FROM source_keys",
        "SELECT class, count(*) FROM git_classes GROUP BY ALL ORDER BY ALL",
        "SELECT service, count(*), count(DISTINCT url) FROM requests GROUP BY ALL ORDER BY ALL",
        "SELECT count(DISTINCT object_id), count(DISTINCT image), count(DISTINCT name) FROM docker_events",
    ):
        assert shared.sql(question).fetchall() == raw.sql(question).fetchall()


def test_the_401s_are_attributed_to_the_same_workflows_by_other_names(tmp_path: Path) -> None:
    out = tmp_path / "shared.duckdb"
    names = pseudonymise(sample_case(), out, key=KEY).names

    def told(case: Path) -> dict[tuple[str, str], float]:
        found = ci.attribute(ci.connect(case)).workflows
        return {
            (repo or "", workflow or ""): requests
            for repo, workflow, requests in found.select("ci_repo", "workflow", "requests").iter_rows()
        }

    renamed = {(names.get(repo, ""), names.get(flow, "")): n for (repo, flow), n in told(out).items()}
    assert renamed == pytest.approx(told(sample_case()))
    assert ("acme/payments", "CI") in renamed


def _wrapper(n: int, **more: str) -> str:
    line = {"ts": f"2026-11-24T03:04:{n:02}Z", "repo": f"Globex/shop-{n}", "workflow": "CI", "job": "build"}
    return json.dumps({**line, "run_id": str(n), "cmd": "build", **more}) + "\n"


def test_a_grown_case_and_a_second_run_keep_the_pseudonyms(case: Build, tmp_path: Path) -> None:
    case(wrapper=_wrapper(1) + _wrapper(2))
    first = pseudonymise(tmp_path / "case.duckdb", tmp_path / "a.duckdb", key=KEY)
    again = pseudonymise(tmp_path / "case.duckdb", tmp_path / "a.duckdb", key=KEY)
    case(wrapper="".join(_wrapper(n) for n in range(1, 9)))
    grown = pseudonymise(tmp_path / "case.duckdb", tmp_path / "b.duckdb", key=KEY)
    other = pseudonymise(tmp_path / "case.duckdb", tmp_path / "c.duckdb", key=b"another")
    assert again == first
    assert first.names.items() <= grown.names.items()
    assert not other.names.keys() & grown.names.keys()


def test_a_repository_is_the_same_in_every_log_and_case_of_letters(case: Build, tmp_path: Path) -> None:
    url = "https://github.com/Globex/Shop-1.git/info/refs?service=git-upload-pack"
    head = "timestamp,method,url,status,user_agent,content_length\n"
    case(
        csv=f"{head}2026-11-24T03:04:13Z,GET,{url},401,git/2.39.5,0\n",
        wrapper=_wrapper(1, args="build -t registry.globex.example/globex/shop-1:v1 --network host ."),
    )
    pseudonymise(tmp_path / "case.duckdb", tmp_path / "out.duckdb", key=KEY)
    con = ci.connect(tmp_path / "out.duckdb")
    ((ci_repo,),) = con.sql("SELECT ci_repo FROM invocations").fetchall()
    ((asked, host, shown, service),) = con.sql(
        "SELECT asked_repo, host, url, service FROM requests"
    ).fetchall()
    assert asked == ci_repo.lower()
    assert ci_repo.startswith("Org-")
    assert host == "github.com"
    assert shown.lower() == f"https://github.com/{asked}.git/info/refs?service=git-upload-pack"
    assert service == "git-upload-pack"


@pytest.mark.parametrize(
    "text",
    [
        "https://api.github.com/repos",
        "docker buildx build --tag golang:1.24-bookworm .",
        "git/2.47.3 proactive",
        "git/2.51 (github-actions-checkout)",
        "registry-1.docker.io:443",
        "ghcr.io",
        "/v2/library/python/manifests/3.12",
        "127.0.0.1:5000/library/alpine:3.20.1",
        "at 03:04:13.5",
        "linux/arm64",
        "TCP_TUNNEL",
        "",
    ],
)
def test_what_is_public_stays(text: str) -> None:
    namer = Namer(KEY)
    kept = namer.text(text, words=frozenset({"at", "tcp", "tunnel"}))
    assert kept == text
    assert not namer.names


@pytest.mark.parametrize(
    "text",
    [
        "%67%6c%6f%62%65%78",
        "%2567lobex",
        "&#103;&#108;obex",
        "\\147\\154obex",
        "g\\u006cobex",
        "gl\u200dobex",
        "\uff47\uff4c\uff4f\uff42\uff45\uff58",
        "\u24bc\u24db",
        "2001:db8:aa::17",
        "fe80::1%eth0",
        "10.0.0.17",
        "167772177",
        "0xa000011",
        "00:1a:2b:3c:4d:5e",
        "\ud800globex",
        "1234-5678-9012",
    ],
)
def test_a_name_in_disguise_is_no_public_word(text: str) -> None:
    told = Namer(KEY).text(f"build {text} .")
    assert text not in told
    assert "globex" not in told.lower()


def test_addresses_stay_addresses_of_their_family_and_never_collide() -> None:
    namer = Namer(KEY)
    pods = [f"10.{a}.{b}.{c}" for a in (1, 99) for b in range(20) for c in range(250)]
    told = [namer.text(pod) for pod in pods]
    assert len(set(told)) == len(pods)
    assert all(ipaddress.ip_address(each) in ipaddress.ip_network("240.0.0.0/4") for each in told)
    assert namer.text("[2001:DB8::17]:443") == namer.text("[2001:db8:0::17]:443")
    assert ipaddress.ip_address(namer.text("fd00::5")).version == 6
    assert namer.text("8.8.8.8/24").endswith("/24")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40))
def test_any_text_is_told_the_same_way_and_holds_no_unknown_word(text: str) -> None:
    namer = Namer(KEY)
    told = namer.text(text)
    assert told == Namer(KEY).text(text)
    assert not [name for name in namer.spellings if len(name) > 5 and name.isalpha() and name in told]


def test_two_names_with_one_pseudonym_are_refused() -> None:
    namer = Namer(KEY)
    namer.names[namer.named("repo", "shop")] = "till"
    with pytest.raises(CiforensicsError, match="use another key"):
        namer.named("repo", "shop")


def test_the_case_itself_is_never_written_over(tmp_path: Path) -> None:
    before = sample_case().read_bytes()
    with pytest.raises(CiforensicsError, match="is the case itself"):
        pseudonymise(sample_case(), sample_case(), key=KEY)
    assert sample_case().read_bytes() == before
    with pytest.raises(CiforensicsError, match="No case"):
        pseudonymise(tmp_path / "none.duckdb", tmp_path / "out.duckdb", key=KEY)


def test_the_mapping_is_for_its_owner_and_says_what_each_pseudonym_stands_for(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.touch(0o644)
    hostile = 'Nightly "full", suite\n=2+2'
    Pseudonyms({"workflow-1": hostile}, frozenset({hostile}), frozenset()).write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [["pseudonym", "name"], ["workflow-1", hostile]]


def _known(*names: str, kept: tuple[str, ...] = ()) -> Pseudonyms:
    return Pseudonyms({f"p-{nth}": name for nth, name in enumerate(names)}, frozenset(names), frozenset(kept))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("a.html", "<p>by GLOBEX/Shop today"),
        ("a.html", '<img alt="globex&#x2F;shop">'),
        ("a.html", "q=globex%252Fshop"),
        ("a.json", '{"globex\\/shop": 1}'),
        ("a.json", '["glob\\u0065x/shop"]'),
        ("a.csv", '1,"globex/shop: 4"'),
        ("a.ipynb", '{"cells": [{"outputs": [{"data": {"text/plain": ["x glo", "bex/shop y"]}}]}]}'),
        ("globex/shop/a.html", ""),
    ],
)
def test_a_name_that_is_left_is_found_however_it_is_escaped(tmp_path: Path, file: str, content: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    assert [leak.name for leak in find_leaks(tmp_path, _known("globex/shop"))] == ["globex/shop"]


def test_an_ordinary_word_is_a_leak_only_where_data_stands_alone(tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    page.write_text("<p>Which requests failed in CI?</p><td>requests</td><td>4</td>")
    known = _known("CI", "requests", "Zz", "4", "slim", kept=("slim",))
    assert find_leaks(tmp_path, known) == []
    page.write_text("<table><td>slim</td><td> <b>ci</b></td><td>zz</td></table>")
    assert sorted(leak.name for leak in find_leaks(tmp_path, known)) == ["CI", "Zz"]
    page.write_text("<p>globexes and myglobex</p>")
    assert find_leaks(tmp_path, _known("globex")) == []


def test_keys_of_our_own_documents_are_no_leak(tmp_path: Path) -> None:
    document = tmp_path / "findings.json"
    document.write_text('{"run": {"e2e": 1, "unit": "requests"}}')
    assert find_leaks(tmp_path, _known("run", "e2e", "requests")) == []
    document.write_text('{"run": {"workflow": "E2E"}}')
    assert [leak.name for leak in find_leaks(tmp_path, _known("e2e"))] == ["e2e"]


def test_what_cannot_be_searched_is_not_shared(tmp_path: Path) -> None:
    (tmp_path / "case.duckdb").write_bytes(b"\0")
    (tmp_path / "chart.png").write_bytes(b"\0")
    (tmp_path / "link.html").symlink_to("/etc/hostname")
    assert [leak.file for leak in find_leaks(tmp_path, _known())] == ["case.duckdb", "link.html"]


def test_the_zip_is_the_same_every_time_and_begins_with_the_index(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    (folder / "notebooks").mkdir(parents=True)
    for name in ("notebooks/b.html", "findings.json", "index.html", "notebooks/a.ipynb", ".hidden"):
        (folder / name).write_text(name)
    write_zip(folder, tmp_path / "one.zip")
    (folder / "index.html").touch()
    write_zip(folder, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as packed:
        assert packed.namelist() == ["index.html", "findings.json", "notebooks/a.ipynb", "notebooks/b.html"]


def test_the_public_words_name_nobody_in_the_samples() -> None:
    assert not {"acme", "payments", "ledger", "orders", "infra"} & public("words")
    assert not [host for host in public("hosts") if "acme" in host]
