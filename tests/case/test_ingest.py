"""Ingesting again and again: nothing twice, nothing lost, and always a whole case."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest
import zstandard
from filelock import FileLock

import ciforensics as ci
from ciforensics import views
from ciforensics.case import identify, store, stream
from ciforensics.tables import EVIDENCE

if TYPE_CHECKING:
    from collections.abc import Callable


def wrapper(n: int, *, run: str = "1") -> str:
    """Line `n` of a docker wrapper's log."""
    when = f"2026-11-24T{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}Z"
    fields = {
        "ts": when,
        "repo": "acme/web",
        "workflow": "CI",
        "job": f"job-{n}",
        "run_id": run,
        "cmd": "build",
    }
    return json.dumps(fields, separators=(",", ":")) + "\n"


def lines(first: int, end: int, *, run: str = "1") -> str:
    return "".join(wrapper(n, run=run) for n in range(first, end))


def jobs(case: Path) -> list[str]:
    with ci.connect(case) as con:
        return [
            job for (job,) in con.execute("SELECT job FROM invocations ORDER BY file_id, line_no").fetchall()
        ]


def contents(case: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table but when it was ingested; files by their path."""
    held = {}
    with ci.connect(case) as con:
        for table in [*(table.name for table in EVIDENCE), "rejected", "skipped"]:
            query = f"SELECT files.path, t.* EXCLUDE (file_id) FROM {table} t JOIN files USING (file_id)"
            held[table] = sorted(con.execute(query).fetchall(), key=repr)
        query = "SELECT * EXCLUDE (file_id, ingested_at) FROM files"
        held["files"] = sorted(con.execute(query).fetchall(), key=repr)
    return held


def test_a_second_ingest_of_the_same_folder_changes_nothing(tmp_path: Path) -> None:
    logs, case = tmp_path / "logs", tmp_path / "case.duckdb"
    logs.mkdir()
    (logs / "a.log").write_text(lines(0, 5))
    ci.ingest([logs], case=case)
    before = case.stat().st_mtime_ns
    assert [report.status for report in ci.ingest([logs], case=case)] == ["unchanged"]
    assert case.stat().st_mtime_ns == before


def test_a_log_that_grew_is_read_from_where_it_ended(tmp_path: Path) -> None:
    log, case = tmp_path / "docker.log", tmp_path / "case.duckdb"
    log.write_text(lines(0, 3))
    ci.ingest([log], case=case)
    with log.open("a") as file:
        file.write(lines(3, 5))
    [report] = ci.ingest([log], case=case)
    assert (report.status, report.rows, report.records) == ("grown", 5, 5)
    assert jobs(case) == [f"job-{n}" for n in range(5)]
    with ci.connect(case) as con:
        assert con.execute("SELECT list(line_no ORDER BY line_no) FROM invocations").fetchone() == (
            [1, 2, 3, 4, 5],
        )


def test_a_line_still_being_written_is_provisional_and_replaced_when_it_is_whole(tmp_path: Path) -> None:
    log, case = tmp_path / "docker.log", tmp_path / "case.duckdb"
    whole = lines(0, 2)
    log.write_text(whole[:-40])
    [report] = ci.ingest([log], case=case)
    assert (report.rows, report.rejected, report.provisional) == (1, 1, 1)
    log.write_text(whole[:-1])  # whole, but for the line's end
    [report] = ci.ingest([log], case=case)
    assert (report.rows, report.rejected, report.provisional) == (2, 0, 1)
    log.write_text(whole)
    [report] = ci.ingest([log], case=case)
    assert (report.rows, report.rejected, report.provisional) == (2, 0, 0)
    assert jobs(case) == ["job-0", "job-1"]


def test_a_log_is_known_again_when_it_is_renamed_copied_rotated_or_compressed(tmp_path: Path) -> None:
    logs, case = tmp_path / "logs", tmp_path / "case.duckdb"
    logs.mkdir()
    (logs / "docker.log").write_text(lines(0, 4))
    ci.ingest([logs], case=case)
    (logs / "docker.log").rename(logs / "docker.log.1")
    shutil.copy(logs / "docker.log.1", logs / "a-copy")
    (logs / "docker.log.2.gz").write_bytes(gzip.compress(lines(0, 4).encode()))
    (logs / "docker.log.3.zst").write_bytes(zstandard.compress(lines(0, 4).encode()))
    (logs / "docker.log").write_text(lines(10, 12))
    reports = {Path(report.path).name: report.status for report in ci.ingest([logs], case=case)}
    assert reports == {
        "docker.log": "new", "docker.log.1": "unchanged", "a-copy": "unchanged",
        "docker.log.2.gz": "unchanged", "docker.log.3.zst": "unchanged",
    }  # fmt: skip
    assert sorted(jobs(case)) == ["job-0", "job-1", "job-10", "job-11", "job-2", "job-3"]
    with ci.connect(case) as con:
        names = [
            Path(path).name for (path,) in con.execute("SELECT path FROM files ORDER BY file_id").fetchall()
        ]
    assert names == ["docker.log.3.zst", "docker.log"]  # where the rotated part was found first: the smallest


def test_a_rotated_part_that_grew_before_it_was_gzipped_is_read_on(tmp_path: Path) -> None:
    logs, case = tmp_path / "logs", tmp_path / "case.duckdb"
    logs.mkdir()
    (logs / "docker.log").write_text(lines(0, 3000))
    ci.ingest([logs], case=case)
    (logs / "docker.log").unlink()
    (logs / "docker.log.1.gz").write_bytes(gzip.compress(lines(0, 3002).encode()))
    [report] = ci.ingest([logs], case=case)
    assert (report.status, report.rows) == ("grown", 3002)


def test_a_log_that_was_cut_short_or_changed_is_another_file(tmp_path: Path) -> None:
    log, case = tmp_path / "docker.log", tmp_path / "case.duckdb"
    log.write_text(lines(0, 5))
    ci.ingest([log], case=case)
    log.write_text(lines(100, 102))
    [report] = ci.ingest([log], case=case)
    assert (report.status, report.rows) == ("new", 2)
    assert len(jobs(case)) == 7


def test_a_change_in_the_middle_is_seen_by_verify_only(tmp_path: Path) -> None:
    log, case = tmp_path / "docker.log", tmp_path / "case.duckdb"
    text = lines(0, 3000)
    log.write_text(text)
    ci.ingest([log], case=case)
    middle = len(text) // 2
    at = text.index("job-", middle)
    log.write_text(text[:at] + "JOB-" + text[at + 4 :])
    assert [report.status for report in ci.ingest([log], case=case)] == ["unchanged"]
    assert [report.status for report in ci.ingest([log], case=case, verify=True)] == ["new"]


def test_growing_step_by_step_gives_the_rows_of_one_clean_ingest(tmp_path: Path) -> None:
    log = tmp_path / "docker.log"
    torn = (
        '{"ts":"2026-11-24T00:00:09Z","repo":"a/b","workflow":"two\nlines","job":"j",'
        '"run_id":"9","cmd":"pull"}\n'
    )
    text = (lines(0, 3) + "garbage\n\n" + torn + lines(5, 9)).encode()
    for end in range(7, len(text) + 23, 23):
        log.write_bytes(text[:end])
        if end > 200:  # before that there is no whole line to know it by
            ci.ingest([log], case=tmp_path / "stepwise.duckdb")
    ci.ingest([log], case=tmp_path / "clean.duckdb")
    assert contents(tmp_path / "stepwise.duckdb") == contents(tmp_path / "clean.duckdb")


def test_an_ingest_killed_at_any_point_leaves_a_whole_case_and_running_it_again_completes_it(
    tmp_path: Path,
) -> None:
    logs, case = tmp_path / "logs", tmp_path / "case.duckdb"
    logs.mkdir()
    (logs / "0.log").write_text(lines(0, 10))
    ci.ingest([logs], case=case)
    before = contents(case)
    for n in range(1, 8):
        (logs / f"{n}.log").write_text(lines(0, 2000, run=str(n)))
    ci.ingest([logs], case=tmp_path / "clean.duckdb")
    code = (
        f"import ciforensics as ci; print('go', flush=True); ci.ingest([{str(logs)!r}], case={str(case)!r})"
    )
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    whole = time.monotonic() - started
    after = contents(case)
    assert after == contents(tmp_path / "clean.duckdb")
    seen = set()
    for step in range(8):
        shutil.rmtree(tmp_path / "again", ignore_errors=True)
        target = tmp_path / "again" / "case.duckdb"
        ci.ingest([logs / "0.log"], case=target)
        process = subprocess.Popen(
            [sys.executable, "-c", code.replace(str(case), str(target))], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(whole * step / 9)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        now = contents(target)
        assert now in (before, after)
        seen.add(now == after)
        ci.ingest([logs], case=target)
        assert contents(target) == after
        assert sorted(path.name for path in target.parent.iterdir()) == ["case.duckdb", "case.duckdb.lock"]
    assert False in seen


def test_two_ingests_at_once_both_land(tmp_path: Path) -> None:
    case = tmp_path / "case.duckdb"
    code = "import ciforensics as ci, sys; ci.ingest([sys.argv[1]], case=sys.argv[2])"
    running = []
    for n in range(3):
        log = tmp_path / f"{n}.log"
        log.write_text(lines(n * 1000, n * 1000 + 500, run=str(n)))
        running.append(subprocess.Popen([sys.executable, "-c", code, str(log), str(case)]))
    assert [process.wait() for process in running] == [0, 0, 0]
    assert len(jobs(case)) == 1500


def test_readers_keep_their_state_while_an_ingest_runs_and_the_next_ones_see_the_new(tmp_path: Path) -> None:
    log, case = tmp_path / "docker.log", tmp_path / "case.duckdb"
    log.write_text(lines(0, 3))
    ci.ingest([log], case=case)
    with ci.connect(case) as early:
        log.write_text(lines(0, 30))
        errors: list[Exception] = []
        thread = threading.Thread(target=lambda: ci.ingest([log], case=case))
        thread.start()
        while thread.is_alive():
            assert early.execute("SELECT count(*) FROM invocations").fetchone() == (3,)
        thread.join()
        assert not errors
        assert early.execute("SELECT count(*) FROM invocations").fetchone() == (3,)
        assert len(jobs(case)) == 30


def test_the_case_is_read_by_duckdb_itself(tmp_path: Path) -> None:
    log, case = tmp_path / "docker.log", tmp_path / "case.duckdb"
    log.write_text(lines(0, 3))
    ci.ingest([log], case=case)
    with duckdb.connect(case, read_only=True) as con:
        assert con.execute("SELECT count(*) FROM invocations").fetchone() == (3,)
        comment = (
            "SELECT comment FROM duckdb_columns() WHERE table_name = 'invocations' AND column_name = 'run_id'"
        )
        assert con.execute(comment).fetchone() == (
            "the workflow run's number (OpenTelemetry: cicd.pipeline.run.id)",
        )


def test_a_case_of_a_newer_version_is_refused_with_a_sentence(tmp_path: Path) -> None:
    log, case = tmp_path / "docker.log", tmp_path / "case.duckdb"
    log.write_text(lines(0, 3))
    ci.ingest([log], case=case)
    with duckdb.connect(case) as con:
        con.execute("UPDATE store.meta SET schema_version = 99, version = '9.9'")
    for use in (lambda: ci.connect(case), lambda: ci.ingest([log], case=case)):
        with pytest.raises(
            ci.CiforensicsError, match=r"written by a newer ciforensics, 9\.9.*\nHint: upgrade"
        ):
            use()


def test_an_older_case_gets_this_versions_views_when_it_is_opened(tmp_path: Path) -> None:
    log, case = tmp_path / "docker.log", tmp_path / "case.duckdb"
    log.write_text(lines(0, 3))
    ci.ingest([log], case=case)
    with duckdb.connect(case) as con:  # as version 0.2.0 wrote it, without a table that came later
        con.execute("ALTER TABLE store.meta DROP COLUMN made_of; ALTER TABLE store.meta DROP COLUMN views")
        con.execute("DROP VIEW case_overview; DROP TABLE base_images; CREATE VIEW mine AS FROM invocations")
    with ci.connect(case) as con:
        assert con.execute("SELECT count(*) FROM case_overview").fetchone() == (1,)
        assert con.execute("SELECT count(*) FROM base_images").fetchone() == (0,)
        assert con.execute("SELECT count(*) FROM mine").fetchone() == (3,)
    before = case.stat()
    ci.connect(case).close()
    assert case.stat() == before


def with_edited_sql(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if somebody had edited one question and deleted another."""
    kept = [question for question in views.questions() if question.name != "gaps"]
    edited = "-- How many files?\nCREATE OR REPLACE VIEW case_overview AS SELECT count(*) AS n FROM files"
    changed = [
        replace(question, text=edited) if question.name == "case_overview" else question for question in kept
    ]
    monkeypatch.setattr(views, "questions", lambda: tuple(changed))


def test_edited_sql_arrives_in_a_case_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, case = tmp_path / "docker.log", tmp_path / "case.duckdb"
    log.write_text(lines(0, 3))
    ci.ingest([log], case=case)
    with_edited_sql(monkeypatch)
    with ci.connect(case) as con:
        assert con.execute("FROM case_overview").fetchall() == [(1,)]
        with pytest.raises(duckdb.CatalogException, match="gaps"):
            con.execute("FROM gaps")
    monkeypatch.undo()
    log.write_text(lines(0, 3))
    ci.ingest([log], case=case)  # nothing new, and still the views are those of this installation
    with duckdb.connect(case, read_only=True) as con:
        assert con.execute("SELECT rows FROM case_overview").fetchall() == [(3,)]
        con.execute("FROM gaps")


def test_edited_sql_arrives_for_those_who_cannot_write_the_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, case = tmp_path / "docker.log", tmp_path / "case.duckdb"
    log.write_text(lines(0, 3))
    ci.ingest([log], case=case)
    lock = tmp_path / "case.duckdb.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()  # stops root as well, where a read-only folder would not
    before = case.read_bytes()
    with_edited_sql(monkeypatch)
    with ci.connect(case) as con:
        assert con.execute("FROM evidence.case_overview").fetchall() == [(1,)]
        assert con.execute("SELECT count(*) FROM invocations").fetchall() == [(3,)]
    assert case.read_bytes() == before


def test_an_outdated_case_that_is_being_written_is_read_from_a_copy_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, case = tmp_path / "docker.log", tmp_path / "case.duckdb"
    log.write_text(lines(0, 3))
    ci.ingest([log], case=case)
    before = case.read_bytes()
    with_edited_sql(monkeypatch)
    with ThreadPoolExecutor(1) as pool, FileLock(f"{case}.lock"):
        with pool.submit(ci.connect, case).result(timeout=60) as con:
            assert con.execute("FROM case_overview").fetchall() == [(1,)]
            assert con.execute("SELECT count(*) FROM invocations").fetchall() == [(3,)]
        assert case.read_bytes() == before
    with ci.connect(case) as con:  # nobody writes any more
        assert con.execute("FROM case_overview").fetchall() == [(1,)]
    assert case.read_bytes() != before


@pytest.mark.parametrize(
    ("made", "word"),
    [
        ("DROP VIEW gaps; CREATE TABLE Gaps (mine INTEGER)", "table"),
        ("DROP VIEW audit_events; CREATE TABLE audit_events (mine INTEGER)", "table"),
        ("DROP TABLE base_images; CREATE VIEW base_images AS FROM files", "view"),
    ],
)
def test_what_a_user_made_under_a_name_of_ours_is_named_and_stays(
    tmp_path: Path, made: str, word: str
) -> None:
    log, case = tmp_path / "docker.log", tmp_path / "case.duckdb"
    log.write_text(lines(0, 3))
    ci.ingest([log], case=case)
    name = made.split()[2].rstrip(";")
    with duckdb.connect(case) as con:
        con.execute(f"{made}; UPDATE store.meta SET made_of = 'an older version'")
    before = case.read_bytes()
    for use in (lambda: ci.connect(case), lambda: ci.ingest([log], case=case)):
        with pytest.raises(ci.CiforensicsError, match=rf"a {word} of yours named {name},") as refused:
            use()
        assert case.read_bytes() == before
    with duckdb.connect(case) as con:
        con.execute(str(refused.value).partition("in DuckDB: ")[2])
    with ci.connect(case) as con:
        con.execute(f"FROM {name}; FROM my_{name}")


def test_a_file_that_is_no_case_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.duckdb").write_text("no database" * 1000)
    duckdb.connect(tmp_path / "other.duckdb").close()
    with pytest.raises(ci.CiforensicsError, match="is no case"):
        ci.connect(tmp_path / "text.duckdb")
    with pytest.raises(ci.CiforensicsError, match="but no case"):
        ci.connect(tmp_path / "other.duckdb")
    with pytest.raises(ci.CiforensicsError, match="No case at"):
        ci.connect(tmp_path / "absent.duckdb")


def test_an_ingest_in_which_nothing_is_recognised_fails_and_leaves_no_case(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "poem.txt").write_text("shall I compare thee\nto a summer's day\n")
    with pytest.raises(ci.CiforensicsError, match="Nothing was recognised"):
        ci.ingest([tmp_path / "logs"], case=tmp_path / "case.duckdb")
    assert not (tmp_path / "case.duckdb").exists()


def test_a_file_that_no_source_knows_is_named_and_passed_over(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "poem.txt").write_text("shall I compare thee\n")
    (logs / "docker.log").write_text(lines(0, 2))
    (logs / "empty.log").write_text("")
    reports = ci.ingest([logs], case=tmp_path / "case.duckdb")
    assert {Path(report.path).name: report.status for report in reports} == {
        "poem.txt": "unknown", "docker.log": "new", "empty.log": "empty",
    }  # fmt: skip


def test_a_compressed_file_that_unpacks_to_too_much_is_refused_and_says_how_to_raise_the_limit(
    tmp_path: Path,
) -> None:
    log = tmp_path / "docker.log.gz"
    log.write_bytes(gzip.compress(lines(0, 5000).encode()))
    with pytest.raises(
        ci.CiforensicsError, match=r"unpacks to more than 100,000 bytes\.\nHint: .*--max-uncompressed"
    ):
        ci.ingest([log], case=tmp_path / "case.duckdb", max_uncompressed=100_000)


def test_a_gzip_that_breaks_off_gives_what_it_holds_and_says_so(tmp_path: Path) -> None:
    log, case = tmp_path / "docker.log.gz", tmp_path / "case.duckdb"
    packed = gzip.compress("".join(lines(n, n + 1) for n in range(2000)).encode())
    log.write_bytes(packed[: len(packed) // 2])
    [report] = ci.ingest([log], case=case)
    assert report.rows > 100
    with ci.connect(case) as con:
        reasons = [reason for (reason,) in con.execute("SELECT reason FROM rejected").fetchall()]
    assert any("breaks off" in reason for reason in reasons)
    assert report.records == report.rows + report.rejected + report.skipped


def test_naming_another_time_zone_reads_a_file_again(tmp_path: Path) -> None:
    log, case = tmp_path / "docker.log", tmp_path / "case.duckdb"
    log.write_text(lines(0, 1).replace("Z", ""))
    ci.ingest([log], case=case)
    ci.ingest([log], case=case, timezone="Europe/Berlin")
    ci.ingest([log], case=case)  # the next nightly run does not ask for it again
    with ci.connect(case) as con:
        assert (
            str(con.execute("SELECT list(ts) FROM invocations").fetchall()[0][0][0]) == "2026-11-23 23:00:00"
        )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"source": "squidd"}, "There is no source 'squidd'"),
        ({"mapping": {"tss": "When"}}, "there is no column 'tss'.\nHint: did you mean ts?"),
        ({"timezone": "Mars"}, "There is no time zone 'Mars'"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_read(
    tmp_path: Path, options: dict[str, object], sentence: str
) -> None:
    (tmp_path / "docker.log").write_text(lines(0, 1))
    with pytest.raises(ci.CiforensicsError, match=sentence):
        ci.ingest([tmp_path / "docker.log"], case=tmp_path / "case.duckdb", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "case.duckdb").exists()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda line: f"2026-11-24T03:04:13.123456789Z stdout F {line}\n",
        lambda line: (
            f"2026-11-24T03:04:13.1Z stdout P {line[:30]}\n2026-11-24T03:04:13.2Z stdout F {line[30:]}\n"
        ),
        lambda line: (
            json.dumps({"log": line + "\n", "stream": "stdout", "time": "2026-11-24T03:04:13Z"}) + "\n"
        ),
        lambda line: json.dumps({"insertId": "x", "jsonPayload": json.loads(line), "resource": {}}) + "\n",
        lambda line: json.dumps({"insertId": "x", "textPayload": line, "logName": "y"}) + "\n",
        lambda line: (
            json.dumps({"subscription_name": "s", "message_id": "1", "data": line, "attributes": "{}"}) + "\n"
        ),
    ],
    ids=[
        "cri",
        "cri in two parts",
        "docker json-file",
        "cloud logging json",
        "cloud logging text",
        "bigquery",
    ],
)
def test_the_envelope_of_a_log_collector_is_peeled_off(tmp_path: Path, wrap: Callable[[str], str]) -> None:
    log, case = tmp_path / "collected.log", tmp_path / "case.duckdb"
    log.write_text("".join(wrap(wrapper(n).rstrip()) for n in range(4)))
    [report] = ci.ingest([log], case=case)
    assert (report.source, report.rows, report.rejected) == ("docker_wrapper", 4, 0)
    assert "+" in report.format


def test_batches_of_any_size_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "docker.log"
    log.write_text(
        "\ufeff"
        + lines(0, 50)
        + "\r\n  \n"
        + 'x\n{"ts":"2026-11-24T00:00:09Z","repo":"a\nb'
        + "\n"
        + lines(60, 90)
    )
    ci.ingest([log], case=tmp_path / "whole.duckdb")
    for size in (300, 1000, 4097):
        monkeypatch.setattr(stream, "CHUNK", size)
        ci.ingest([log], case=tmp_path / f"{size}.duckdb")
        assert contents(tmp_path / f"{size}.duckdb") == contents(tmp_path / "whole.duckdb")


def test_a_line_too_long_to_keep_is_one_rejected_record_and_reading_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "CHUNK", 1000)
    monkeypatch.setattr(stream, "MAX_LINE", 2000)
    log, case = tmp_path / "docker.log", tmp_path / "case.duckdb"
    log.write_bytes(lines(0, 20).encode() + b"\0" * 9000 + b"\n" + lines(20, 40).encode())
    [report] = ci.ingest([log], case=case)
    assert (report.rows, report.rejected, report.records) == (40, 1, 41)
    with ci.connect(case) as con:
        assert con.execute("SELECT line_no, starts_with(reason, 'longer') FROM rejected").fetchall() == [
            (21, True)
        ]
        assert con.execute("SELECT max(line_no) FROM invocations").fetchone() == (41,)


def test_every_byte_of_a_file_is_in_one_span(tmp_path: Path) -> None:
    log, case = tmp_path / "docker.log", tmp_path / "case.duckdb"
    log.write_bytes(
        b"\xef\xbb\xbf" + lines(0, 5).encode() + b"\r\n \n\xff\xfe broken\n" + lines(5, 6).encode()[:-9]
    )
    [report] = ci.ingest([log], case=case)
    with duckdb.connect(case, read_only=True) as con:
        spans = con.execute(
            "SELECT header_bytes, blank_bytes, record_bytes, provisional_bytes, boundary FROM store.progress"
        ).fetchall()
    header, blank, record, provisional, boundary = spans[0]
    assert header + blank + record + provisional == report.bytes == log.stat().st_size
    assert boundary == report.bytes - provisional
    assert (header, blank) == (3, 4)


def test_the_case_file_is_not_taken_for_evidence(tmp_path: Path) -> None:
    (tmp_path / "docker.log").write_text(lines(0, 2))
    for _ in range(2):
        reports = ci.ingest([tmp_path], case=tmp_path / "case.duckdb")
        assert [Path(report.path).name for report in reports] == ["docker.log"]


def test_a_failed_write_leaves_the_old_case_and_no_copy(tmp_path: Path) -> None:
    case = tmp_path / "case.duckdb"
    (tmp_path / "docker.log").write_text(lines(0, 2))
    ci.ingest([tmp_path / "docker.log"], case=case)
    before = contents(case)

    def write_and_fail() -> None:
        with store.writing(case) as copy:
            copy.con.execute("DELETE FROM invocations")
            copy.changed = True
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert contents(case) == before
    assert not [path for path in tmp_path.iterdir() if "writing" in path.name]


def test_a_head_alone_does_not_make_two_exports_one_file(tmp_path: Path) -> None:
    header = "timestamp,method,url,status,user_agent,content_length\n"
    row = "2026-11-24T03:04:13Z,GET,https://github.com/a/b,401,git/2.39.5,0\n"
    (tmp_path / "a.csv").write_text(header)
    (tmp_path / "b.csv").write_text(header + row)
    reports = ci.ingest([tmp_path / "a.csv", tmp_path / "b.csv"], case=tmp_path / "case.duckdb")
    assert [report.status for report in reports] == ["new", "new"]
    assert len(header) < identify.EDGE


def test_a_copy_from_before_a_log_grew_is_not_counted_again(tmp_path: Path) -> None:
    logs, case = tmp_path / "logs", tmp_path / "case.duckdb"
    logs.mkdir()
    (logs / "monday.log").write_text(lines(0, 30))
    (logs / "tuesday.log").write_text(lines(0, 60))
    for _ in range(3):
        ci.ingest([logs], case=case)
        assert len(jobs(case)) == 60


def test_reading_a_file_as_a_source_that_it_is_not_keeps_what_was_read(tmp_path: Path) -> None:
    logs, case = tmp_path / "logs", tmp_path / "case.duckdb"
    logs.mkdir()
    (logs / "docker.log").write_text(lines(0, 9))
    ci.ingest([logs], case=case)
    (logs / "squid.log").write_text(
        "1795489505.137 18 10.0.0.5 TCP_TUNNEL/200 7816 CONNECT github.com:443 - HIER_DIRECT/192.0.2.1 -\n"
    )
    ci.ingest([logs], case=case, source="squid")
    assert len(jobs(case)) == 9


@pytest.mark.parametrize(("back", "in_order"), [(1, True), (2, False)])
def test_whether_a_file_is_in_order_does_not_depend_on_where_it_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back: int, in_order: bool
) -> None:
    header = "timestamp,method,url,status,user_agent,content_length\n"
    seconds = [10, 10 - back, *range(11, 50), 49 - back, 50]
    rows = [f"2026-11-24T03:04:{n:02}Z,GET,https://github.com/a/b,401,git/2.39.5,0\n" for n in seconds]
    (tmp_path / "export.csv").write_text(header + "".join(rows))
    for size in (90, 200, 1 << 20):
        monkeypatch.setattr(stream, "CHUNK", size)
        ci.ingest([tmp_path / "export.csv"], case=tmp_path / f"{size}.duckdb")
        with ci.connect(tmp_path / f"{size}.duckdb") as con:
            assert con.execute("SELECT in_order FROM files").fetchone() == (in_order,)
