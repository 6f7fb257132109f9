"""The published files: what they hold, that they are whole at any instant, and what keeps them."""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from student_pipeline import tables
from student_pipeline.assets.published import FILES, publish_all
from student_pipeline.reports import standing
from student_pipeline.reports.files import write_csv, write_duckdb, write_parquet
from student_pipeline.reports.folder import PublishFolder
from student_pipeline.sample_data import write_sample
from student_pipeline.settings import PROJECT_ROOT, Rules
from student_pipeline.warehouse import connection as connection_module
from student_pipeline.warehouse import values
from student_pipeline.warehouse.connection import Warehouse, connect
from student_pipeline.warehouse.strategies import replace
from student_pipeline_tests.pipeline import NOW, School, errors, failed_checks, passed_checks

NAMES = sorted(name for names in FILES.values() for name in names)
"""Every file that is published."""

GOLD = [pytest.param(table, id=table.name) for table in tables.GOLD]

ROSTER = "student_id,name,class_id,grade,status\n"
ATTENDANCE = "attend_id,student_id,date,status,created_at\n"

DANGEROUS = ["=1+1", "+1", "-1", "@SUM(A1)", "'quoted", "＝1+1"]
"""Ids that a spreadsheet would take for something else, and the sign that tells them."""

SAFE = ["1A", "a=1", 'Mrs. O\'Neil, "5b"', "Größe"]


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def deliver(school: School, classes: list[str]) -> None:
    """One student for each class, one day of attendance; each class is the student's id, too."""
    school.deliver(
        "students.csv", ROSTER + "".join(f"{quoted(c)},N,{quoted(c)},5,ACTIVE\n" for c in classes)
    )
    school.deliver(
        "attendance.csv",
        ATTENDANCE + "".join(f"A{n},{quoted(c)},2026-06-01,P,\n" for n, c in enumerate(classes)),
    )


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> School:
    """A school after a run, to be looked at, not changed."""
    school = School(tmp_path_factory.mktemp("sample"))
    write_sample(school.landing, students=90, attendance=900, assessments=300, seed=3)
    assert school.run().success
    return school


@pytest.fixture
def copy(sample: School, tmp_path: Path) -> School:
    """A copy of that school."""
    shutil.copytree(sample.folder, tmp_path, dirs_exist_ok=True)
    return School(tmp_path)


def deliver_another(school: School, seed: int) -> None:
    """Another sample beside the files that are there; its roster updates the students."""
    made = school.folder / "made"
    write_sample(made, students=90, attendance=900, assessments=300, seed=seed)
    for file in made.iterdir():
        file.rename(school.landing / f"{file.stem}_{seed}{file.suffix}")


def content(school: School) -> dict[str, bytes]:
    """File -> its bytes, of everything in the publish folder, hidden files included."""
    return {path.name: path.read_bytes() for path in school.published.iterdir()}


def gold(school: School, table: tables.Table) -> list[tuple[Any, ...]]:
    names = ", ".join(column.name for column in table.contract)
    return school.query(f"SELECT {names} FROM {table.full_name} ORDER BY {', '.join(table.key)}")


# --- what the files hold --------------------------------------------------------------------------


def test_all_files_are_there_and_nothing_else(sample: School) -> None:
    assert sorted(path.name for path in sample.published.iterdir()) == NAMES


@pytest.mark.parametrize("table", GOLD)
def test_parquet_holds_gold_with_its_types(sample: School, table: tables.Table) -> None:
    file = sample.published / f"{table.name}.parquet"
    with duckdb.connect() as reader:
        found = reader.execute(f"SELECT * FROM read_parquet('{file}')")
        assert [(name, str(kind)) for name, kind, *_ in found.description or []] == [
            (column.name, column.type) for column in table.contract
        ]
        assert found.fetchall() == gold(sample, table)


@pytest.mark.parametrize("table", GOLD)
def test_csv_holds_gold_as_text(sample: School, table: tables.Table) -> None:
    raw = (sample.published / f"{table.name}.csv").read_bytes()
    assert raw.endswith(b"\r\n")
    assert raw.count(b"\n") == raw.count(b"\r\n")
    header, *rows = csv.reader(raw.decode("utf-8").splitlines())
    assert header == [column.name for column in table.contract]
    assert rows == [
        [
            "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            for value in row
        ]
        for row in gold(sample, table)
    ]


@pytest.mark.parametrize("table", GOLD)
def test_files_of_many_rows_are_sorted_by_key(table: tables.Table, tmp_path: Path) -> None:
    parquet, csv_file, gold_duckdb = (
        tmp_path / name for name in ("g.parquet", "g.csv", "g.duckdb")
    )
    shuffled = ", ".join(
        f"CAST(hash(n, '{column.name}') % 1000000 AS VARCHAR) AS {column.name}"
        if column.type == "VARCHAR"
        else f"DATE '2026-01-01' + CAST(hash(n) % 500 AS INTEGER) AS {column.name}"
        if column.type == "DATE"
        else f"NULL AS {column.name}"
        for column in table.columns
    )
    with connect(tmp_path / "warehouse.duckdb") as connection:
        connection.execute("SET threads = 4")
        replace(connection, table, f"SELECT {shuffled} FROM range(300000) AS rows (n)")
        write_parquet(connection, table, parquet)
        write_csv(connection, table, csv_file, guarded=True)
        write_duckdb(connection, (table,), gold_duckdb)
        expected = connection.execute(
            f"SELECT {', '.join(table.key)} FROM {table.full_name} ORDER BY ALL"
        ).fetchall()
    key = [table.column_names.index(name) for name in table.key]
    for relation in (f"read_parquet('{parquet}')", table.name):
        with duckdb.connect(gold_duckdb, read_only=True) as reader:
            rows = reader.execute(f"SELECT {', '.join(table.key)} FROM {relation}").fetchall()
        assert rows == expected, relation
    with csv_file.open(encoding="utf-8", newline="") as stream:
        lines = [tuple(line[number] for number in key) for line in csv.reader(stream)][1:]
    assert lines == [tuple(map(str, row)) for row in expected]


def test_the_duckdb_file_holds_both_tables_with_their_meaning(sample: School) -> None:
    with duckdb.connect(sample.published / "gold.duckdb", read_only=True) as reader:
        for table in tables.GOLD:
            assert reader.execute(f"SELECT * FROM {table.name}").fetchall() == gold(sample, table)
            ((rows,),) = reader.execute(f"SELECT count(*) FROM gold.{table.name}").fetchall()
            assert rows == len(gold(sample, table))
            comments = reader.execute(
                "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = ? "
                "ORDER BY column_index",
                [table.name],
            ).fetchall()
            assert comments == [(c.name, c.description) for c in table.contract]
        assert len(reader.execute("SELECT * FROM duckdb_tables()").fetchall()) == 2


def test_names_of_students_are_in_no_file(school: School) -> None:
    school.deliver("students.csv", ROSTER + "S1,Xanthippe Quodlibet,5A,5,ACTIVE\n")
    school.deliver("attendance.csv", ATTENDANCE + "A1,S1,2026-06-01,P,\n")
    assert school.run().success
    for name, found in content(school).items():
        assert b"Xanthippe" not in found, name


@pytest.mark.parametrize("guarded", [True, False])
def test_ids_that_look_like_formulas_are_guarded_in_csv_only(school: School, guarded: bool) -> None:
    school.rules["csv_guards_formulas"] = guarded
    ids = DANGEROUS + SAFE
    deliver(school, ids)
    result = school.run()
    assert result.success, errors(result) or failed_checks(result)
    mark = "'" if guarded else ""
    expected = sorted([mark + text for text in DANGEROUS] + SAFE)
    for table, columns in (
        ("class_daily_performance", ["class_id"]),
        ("student_performance_summary", ["student_id", "class_id"]),
    ):
        text = (school.published / f"{table}.csv").read_bytes().decode("utf-8")
        rows = list(csv.DictReader(text.splitlines()))
        with duckdb.connect(school.published / "gold.duckdb", read_only=True) as reader:
            for column in columns:
                assert sorted(row[column] for row in rows) == expected
                exact = {
                    name for (name,) in reader.execute(f"SELECT {column} FROM {table}").fetchall()
                }
                assert exact == set(ids)
                file = school.published / f"{table}.parquet"
                found = reader.execute(f"SELECT {column} FROM read_parquet('{file}')").fetchall()
                assert {name for (name,) in found} == exact


def test_an_id_with_a_line_end_stays_one_field(school: School) -> None:
    deliver(school, ["two\nlines", "other"])
    result = school.run()
    assert result.success, failed_checks(result)
    with (school.published / "class_daily_performance.csv").open(
        encoding="utf-8", newline=""
    ) as file:
        assert [row["class_id"] for row in csv.DictReader(file)] == ["other", "two\nlines"]


def test_a_school_without_facts_publishes_tables_without_rows(school: School) -> None:
    school.deliver("students.csv", ROSTER + "S1,N,5A,5,ACTIVE\n")
    assert school.run().success
    lines = (school.published / "class_daily_performance.csv").read_text().splitlines()
    assert len(lines) == 1
    file = school.published / "class_daily_performance.parquet"
    assert duckdb.execute(f"SELECT count(*) FROM read_parquet('{file}')").fetchall() == [(0,)]


def test_the_assets_tell_rows_and_sizes(copy: School) -> None:
    told = {
        event.asset_key.path[1]: event.materialization.metadata
        for event in copy.run().get_asset_materialization_events()
        if event.asset_key and event.asset_key.path[0] == "published"
    }
    assert list(told) == list(FILES)
    for name, files in FILES.items():
        for file in files:
            size = (copy.published / file).stat().st_size
            assert told[name][f"bytes/{file}"].value == size
    for table in tables.GOLD:
        assert told[table.name]["dagster/row_count"].value == len(gold(copy, table))


def _times(school: School) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in school.published.iterdir()}


def test_where_nothing_changed_only_the_report_is_made_anew(copy: School) -> None:
    assert copy.run().success  # the copied files are others than those that were checked
    before = _times(copy)
    assert copy.run().success
    after = _times(copy)
    assert after.pop("report.html") > before.pop("report.html")
    assert after == before


@pytest.mark.parametrize(
    "what",
    [
        "a cell",
        "a cell before a look",
        "a byte, with the times put back",
        "the copy, by a process that was killed",
        "a missing file",
        "a touched file",
        "a rule",
    ],
)
def test_what_somebody_changed_is_written_again(copy: School, what: str) -> None:
    assert copy.run().success
    before, file = content(copy), copy.published / "class_daily_performance.csv"
    for never_twice_the_same in ("report.html", "gold.duckdb"):
        del before[never_twice_the_same]
    if what.startswith("a cell"):
        times = file.stat()
        file.write_bytes(file.read_bytes().replace(b",0,", b",1,", 1))
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
        if what == "a cell before a look":  # of a CSV file only the number of rows is compared
            assert look(copy) == {}
    elif what == "a byte, with the times put back":
        _spoil_a_byte(copy.published)
    elif what == "the copy, by a process that was killed":
        change = "connection.execute('DELETE FROM class_daily_performance')"
        killed = f"connection = duckdb.connect(sys.argv[1]); {change}; os._exit(9)"
        subprocess.run(
            [sys.executable, "-c", f"import duckdb, os, sys; {killed}", file.parent / "gold.duckdb"]
        )
        assert (copy.published / "gold.duckdb.wal").exists()
    elif what == "a missing file":
        file.unlink()
    elif what == "a touched file":
        file.touch()
    else:
        copy.rules["csv_guards_formulas"] = False
    times_before = _times(copy)
    assert copy.run().success
    assert before.items() <= content(copy).items()
    assert sorted(content(copy)) == sorted(NAMES)
    for name in before:
        assert _times(copy)[name] > times_before.get(name, 0)


def _spoil_a_byte(folder: Path) -> None:
    """As `rsync --inplace --times` of a bad copy would."""
    file = folder / "student_performance_summary.parquet"
    times, spoiled = file.stat(), bytearray(file.read_bytes())
    spoiled[len(spoiled) // 3] ^= 0xFF
    file.write_bytes(spoiled)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_what_a_disk_lost_unnoticed_fails_one_run(copy: School) -> None:
    assert copy.run().success
    _spoil_a_byte(copy.published)
    with connect(copy.warehouse) as connection:  # as if the file had not been touched since
        for note in (standing.note_written, standing.note_checked):
            note(connection, copy.published, Rules())
    assert "published/student_performance_summary: same_as_gold" in failed_checks(copy.run())
    assert copy.run().success


# --- what keeps them as they were -----------------------------------------------------------------


def test_a_failed_check_of_one_gold_table_leaves_every_file_as_it_was(
    copy: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(copy)
    times = {path.name: path.stat().st_mtime_ns for path in copy.published.iterdir()}
    text = values.sql.text

    def mistaken(path: str) -> str:
        found = text(path)
        if path == "gold/student_performance_summary.sql":
            assert "(attendance.late_days, 0)" in found
            return found.replace("(attendance.present_days, 0)", "(attendance.present_days + 1, 0)")
        return found

    deliver_another(copy, 4)
    monkeypatch.setattr(values.sql, "text", mistaken)
    result = copy.run()
    assert not result.success
    assert "gold/student_performance_summary: student_equations" in failed_checks(result)
    assert "gold/class_daily_performance: daily_equations" in passed_checks(result)
    assert content(copy) == before
    assert {path.name: path.stat().st_mtime_ns for path in copy.published.iterdir()} == times


def test_a_refused_file_leaves_every_file_as_it_was(copy: School) -> None:
    before = content(copy)
    copy.deliver("attendance_5.csv", "no header at all\n")
    assert not copy.run().success
    assert content(copy) == before


def test_a_folder_that_can_t_be_written_gets_a_sentence(
    copy: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "RETRIES", dg.RetryPolicy(max_retries=1, delay=0))
    shutil.rmtree(copy.published)
    copy.published.write_text("I am a file.")
    result = copy.run()
    assert not result.success
    (sentence,) = errors(result)
    assert sentence.endswith(
        f"The publish folder {copy.published} can't be written: File exists. "
        "What was published before stays."
    )
    assert copy.published.read_text() == "I am a file."


def test_what_a_killed_run_or_a_writing_reader_left_is_taken_away(copy: School) -> None:
    for left in (".gold.duckdb.tmp", ".gold.duckdb.tmp.wal", ".report.html.tmp", "gold.duckdb.wal"):
        (copy.published / left).write_bytes(b"half of something")
    (copy.published / "notes.txt").write_text("Mine.")
    assert copy.run().success
    assert sorted(content(copy)) == sorted([*NAMES, "notes.txt"])
    with duckdb.connect(copy.published / "gold.duckdb", read_only=True) as reader:
        reader.execute("SELECT * FROM class_daily_performance").fetchall()


# --- the checks -----------------------------------------------------------------------------------


def look(school: School) -> dict[str, str]:
    """Run the checks of the published files alone; those that failed, with their sentences."""
    from student_pipeline import definitions
    from student_pipeline.published_checks import published_checks

    job = dg.Definitions(
        asset_checks=[published_checks],
        jobs=[dg.define_asset_job("look", dg.AssetSelection.checks(published_checks))],
        resources=definitions.defs.resources,
        executor=dg.in_process_executor,
    ).resolve_job_def("look")
    result = job.execute_in_process(
        raise_on_error=False,
        run_config={
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            "resources": {
                "warehouse": {"config": {"database": str(school.warehouse)}},
                "publish": {"config": {"path": str(school.published)}},
            },
        },
    )
    found = failed_checks(result)
    assert result.success is not bool(found)
    assert len(found) + len(passed_checks(result)) == len(FILES)
    return found


def _change_parquet(folder: Path) -> None:
    file, other = folder / "class_daily_performance.parquet", folder / "other.parquet"
    duckdb.execute(
        f"COPY (SELECT * REPLACE (present_count + 1 AS present_count) FROM read_parquet('{file}')) "
        f"TO '{other}'"
    )
    other.replace(file)


def _cut_csv(folder: Path) -> None:
    file = folder / "student_performance_summary.csv"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))


def _change_duckdb(folder: Path) -> None:
    with duckdb.connect(folder / "gold.duckdb") as writer:
        writer.execute(
            "DELETE FROM student_performance_summary "
            "WHERE student_id IN (SELECT min(student_id) FROM student_performance_summary)"
        )


def _cut_page(folder: Path) -> None:
    file = folder / "report.html"
    file.write_bytes(file.read_bytes()[:-100])


def _remove_csv(folder: Path) -> None:
    (folder / "class_daily_performance.csv").unlink()


@pytest.mark.parametrize(
    ("spoil", "check", "sentence"),
    [
        (
            _change_parquet,
            "published/class_daily_performance: same_as_gold",
            "rows of class_daily_performance.parquet differ from gold.class_daily_performance.",
        ),
        (
            _remove_csv,
            "published/class_daily_performance: same_as_gold",
            "It can't be read: ",
        ),
        (
            _cut_csv,
            "published/student_performance_summary: same_as_gold",
            "student_performance_summary.csv has 89 rows, gold.student_performance_summary 90.",
        ),
        (
            _change_duckdb,
            "published/gold_duckdb: same_as_gold",
            "1 rows of student_performance_summary in gold.duckdb differ from gold.",
        ),
        (_cut_page, "published/report: page_whole", "report.html does not end as a page does."),
    ],
)
def test_a_spoiled_file_is_found(copy: School, spoil: Any, check: str, sentence: str) -> None:
    assert look(copy) == {}
    spoil(copy.published)
    found = look(copy)
    assert list(found) == [check]
    assert sentence in found[check]


# --- readers and kills ----------------------------------------------------------------------------

READER = """
import pathlib, sys, time
import duckdb

folder, stop = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
duckdb.execute("SET threads = 1")
reads = 0
while not stop.exists():
    for table in ("class_daily_performance", "student_performance_summary"):
        for file in (f"{table}.parquet", f"{table}.csv"):
            assert duckdb.execute(f"SELECT count(class_id) FROM '{folder}/{file}'").fetchone()[0] > 50
        assert (folder / f"{table}.csv").read_bytes().endswith(b"\\r\\n")
    with duckdb.connect(folder / "gold.duckdb", read_only=True, config={"threads": 1}) as db:
        query = "SELECT (SELECT sum(present_count + absent_count) FROM class_daily_performance), "
        query += "(SELECT sum(total_attendance_days) FROM student_performance_summary)"
        days, of_students = db.execute(query).fetchone()
        assert days == of_students, (days, of_students)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and page.endswith("</html>\\n")
    reads += 1
    time.sleep(0.1)
print(reads)
"""
"""Reads every file again and again; the two tables of gold.duckdb must be of one run."""


def test_five_readers_poll_through_several_runs_and_never_see_an_error(copy: School) -> None:
    stop = copy.folder / "stop"
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, str(copy.published), str(stop)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(5)
    ]
    try:
        deliver_another(copy, 1)
        assert copy.run().success
        for number in range(8):  # what a run does at its end, more often than runs can
            warehouse = Warehouse(database=str(copy.warehouse))
            publish_all(
                warehouse,
                PublishFolder(path=str(copy.published)),
                Rules(),
                now=NOW,
                run_id=f"run {number}",
            )
            warehouse.close()
        assert [reader.poll() for reader in readers] == [None] * 5
    finally:
        stop.touch()
        said = [reader.communicate(timeout=60) for reader in readers]
    assert [reader.returncode for reader in readers] == [0] * 5, said
    assert all(int(out) >= 3 for out, _ in said), said


PUBLISHER = """
import os, sys
from datetime import datetime, timezone
from student_pipeline.assets.published import publish_all
from student_pipeline.reports.folder import PublishFolder
from student_pipeline.settings import Rules
from student_pipeline.warehouse.connection import Warehouse

now = datetime(2026, 6, 30, 6, tzinfo=timezone.utc)

def publish(run_id):
    warehouse = Warehouse(database=sys.argv[1])
    publish_all(warehouse, PublishFolder(path=sys.argv[2]), Rules(), now=now, run_id=run_id)
    warehouse.close()

for line in sys.stdin:
    if line.strip() == "end":
        publish("the last one")
        break
    child = os.fork()
    if child == 0:
        while True:
            publish("a run that is killed")
    print(child, flush=True)
    os.waitpid(child, 0)
"""
"""Publishes again and again in a process of its own, whose id it says, until that is killed."""


@pytest.fixture
def publisher(copy: School) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, str(copy.warehouse), str(copy.published)],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process


def test_a_kill_while_publishing_leaves_whole_files(
    copy: School, publisher: "subprocess.Popen[str]"
) -> None:
    assert publisher.stdin
    assert publisher.stdout
    expected = {table.name: gold(copy, table) for table in tables.GOLD}
    os.utime(copy.published / "gold.duckdb")  # somebody touched it, so all are written again
    chance = random.Random(20260630)
    seen_drafts = 0
    for number in range(12):
        publisher.stdin.write("go\n")
        publisher.stdin.flush()
        child = int(publisher.stdout.readline())
        if number % 2:  # at any instant, else while files are written or soon after
            time.sleep(0.05)
        else:
            while not any(copy.published.glob(".*.tmp")):
                assert publisher.poll() is None
                time.sleep(0.001)
        time.sleep(0.25 * chance.random() ** 2)
        os.kill(child, signal.SIGKILL)
        seen_drafts += any(copy.published.glob(".*.tmp"))
        _assert_whole(copy, expected)
    assert seen_drafts, "no kill came while files were written"
    publisher.stdin.write("end\n")
    publisher.stdin.close()
    assert publisher.wait(60) == 0
    assert sorted(content(copy)) == NAMES
    assert b"the last one" in content(copy)["report.html"]


def _assert_whole(school: School, expected: dict[str, list[tuple[Any, ...]]]) -> None:
    folder = school.published
    with duckdb.connect(folder / "gold.duckdb", read_only=True) as reader:
        for name, rows in expected.items():
            assert reader.execute(f"SELECT * FROM {name}").fetchall() == rows
            file = folder / f"{name}.parquet"
            assert reader.execute(f"SELECT * FROM read_parquet('{file}')").fetchall() == rows
            assert len((folder / f"{name}.csv").read_bytes().splitlines()) == len(rows) + 1
    assert (folder / "report.html").read_bytes().endswith(b"</html>\n")
