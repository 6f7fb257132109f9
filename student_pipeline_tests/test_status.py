"""`student-pipeline status` and `student-pipeline quarantine`, beside runs and by themselves."""

import csv
import shutil
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import dagster as dg
import pytest

from student_pipeline.cli import main
from student_pipeline.jobs import JOB_NAME
from student_pipeline.refused import CSV_COLUMNS
from student_pipeline.status import print_status
from student_pipeline.warehouse.connection import WarehouseBusy
from student_pipeline.warehouse.reading import WarehouseMissing, copies
from student_pipeline_tests.command import Installation
from student_pipeline_tests.pipeline import School
from student_pipeline_tests.test_cli import ROWS, deliver_all
from student_pipeline_tests.test_connection import held

NAME = "Ann Canary"
EVIL = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """A school whose places the environment names, so that the command finds them."""
    school = Installation(tmp_path)
    take_place(school, monkeypatch)
    return school


def take_place(school: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STUDENT_PIPELINE_RULES", raising=False)
    for name, value in school.environment().items():
        if name.startswith(("STUDENT_PIPELINE_", "DAGSTER_")):
            monkeypatch.setenv(name, value)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def run(home: Installation, instance: dg.DagsterInstance) -> School:
    """What a run of the three usual files left."""
    deliver_all(home)
    school = School(home.folder)
    assert school.run(instance=instance).success
    return school


def minute_after(instance: dg.DagsterInstance) -> datetime:
    (record,) = instance.get_run_records(limit=1)
    return datetime.fromtimestamp(record.end_time or 0, timezone.utc) + timedelta(minutes=1)


# --- status ---------------------------------------------------------------------------------------


def test_status_tells_runs_tables_quarantine_freshness_and_checks(
    run: School, instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    assert print_status(instance, run.warehouse, minute_after(instance))
    said = capsys.readouterr().out
    (record,) = instance.get_run_records(limit=1)
    lines = said.splitlines()
    assert lines[0].startswith("Last run:    succeeded after ")
    assert lines[0].endswith(f"UTC ({record.dagster_run.run_id})")
    assert lines[1] == "Freshness:   the gold tables are fresh; due every day by 7:00"
    assert lines[2].startswith(f"Warehouse:   {run.warehouse}, ")
    for name, rows in ROWS.items():
        (line,) = (line.split() for line in lines if line.startswith(name.replace("/", ".")))
        assert line[1] == str(rows)
        assert line[4] == "UTC"
    assert "5 rows in quarantine." in lines
    assert "  attendance: unknown_student: 1" in lines
    assert any(line.startswith("warning silver/fact_attend: recent_data: The") for line in lines)
    assert not [line for line in lines if line.startswith("FAILED")]


def test_status_is_bad_when_gold_was_not_made_today(
    run: School, instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not print_status(instance, run.warehouse, minute_after(instance) + timedelta(days=2))
    assert (
        "Freshness:   overdue since 7:00: gold.class_daily_performance" in capsys.readouterr().out
    )


@pytest.mark.parametrize("content", [None, b"hello"], ids=["missing", "broken"])
def test_status_is_bad_without_a_warehouse_that_can_be_opened(
    instance: dg.DagsterInstance, run: School, tmp_path: Path, content: bytes | None
) -> None:
    other = tmp_path / "other.duckdb"
    if content:
        other.write_bytes(content)
    assert not print_status(instance, other, minute_after(instance))


def test_status_names_a_failed_check_and_the_last_good_run(
    run: School, instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    good = instance.get_runs(limit=1)[0].run_id
    run.deliver("attendance_2.csv", "attend_id,student_id\n1,2\n")
    assert not run.run(instance=instance).success
    assert not print_status(instance, run.warehouse, minute_after(instance))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Last run:    FAILED after ")
    assert lines[1].startswith("Last good:   ended ")
    assert good in lines[1]
    assert any(
        line.startswith("FAILED  bronze/attendance: files_readable: 1 file was refused. atten")
        for line in lines
    )


def test_status_while_a_run_holds_the_warehouse_tells_what_the_history_knows(
    run: School, instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    print_status(instance, run.warehouse, minute_after(instance))
    free = capsys.readouterr().out.splitlines()
    with held(run.warehouse) as holder:
        assert print_status(instance, run.warehouse, minute_after(instance))
    busy = capsys.readouterr().out.splitlines()
    assert busy[2] == (
        f"Warehouse:   The warehouse {run.warehouse} is in use by {holder.name}: most likely a run. "
        "Below is what the run history knows."
    )
    assert busy[:2] + busy[3:] == free[:2] + free[3:]


def test_status_before_the_first_run_says_so(
    home: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("Last run:    there was none; `student-pipeline run` starts one.\n")
    assert f"There is no warehouse {home.warehouse} yet" in said
    assert not home.warehouse.exists()


def test_status_of_what_is_no_warehouse_is_a_sentence(
    home: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    home.warehouse.write_text("hello")
    assert main(["status"]) == 1
    assert f"The warehouse {home.warehouse} can't be opened: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (dg.DagsterRunStatus.NOT_STARTED, "is starting"),
        (dg.DagsterRunStatus.STARTING, "is starting"),
        (dg.DagsterRunStatus.STARTED, "is at work"),
        (dg.DagsterRunStatus.CANCELING, "is being canceled"),
    ],
)
def test_status_says_in_words_how_far_the_last_run_is(
    tmp_path: Path,
    instance: dg.DagsterInstance,
    capsys: pytest.CaptureFixture[str],
    status: dg.DagsterRunStatus,
    words: str,
) -> None:
    run = dg.DagsterRun(job_name=JOB_NAME, run_id=str(uuid.UUID(int=1)), status=status)
    instance.add_run(run)
    print_status(instance, tmp_path / "none.duckdb")
    assert capsys.readouterr().out.startswith(f"Last run:    {words} ({run.run_id})\n")


# --- reading beside runs --------------------------------------------------------------------------


def test_a_run_can_write_while_a_reader_looks_at_its_copy(run: School) -> None:
    code = f"import duckdb; duckdb.connect({str(run.warehouse)!r}).execute('CHECKPOINT')"
    with copies(run.warehouse, {"dim": "SELECT * FROM silver.dim_student"}) as copied:
        subprocess.run([sys.executable, "-c", code], check=True)
        assert len(copied.execute("FROM dim").fetchall()) == ROWS["silver/dim_student"]


def test_a_reader_sees_what_a_killed_writer_had_committed(run: School) -> None:
    code = (
        f"import duckdb, os; c = duckdb.connect({str(run.warehouse)!r});"
        "c.execute('DELETE FROM silver.dim_student'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    with copies(run.warehouse, {"dim": "SELECT * FROM silver.dim_student"}) as copied:
        assert copied.execute("FROM dim").fetchall() == []


def test_a_reader_waits_a_little_and_then_names_who_holds_it(run: School) -> None:
    with held(run.warehouse) as holder:
        busy = pytest.raises(WarehouseBusy, match=f"in use by process {holder.process.pid} ")
        with busy, copies(run.warehouse, {}, timeout_seconds=0.1):
            pass
    with copies(run.warehouse, {"none": "SELECT * FROM gold.nothing"}) as copied:
        assert copied.execute("SELECT count(*) FROM duckdb_tables()").fetchall() == [(0,)]


def test_a_reader_makes_no_warehouse(tmp_path: Path) -> None:
    missing = pytest.raises(WarehouseMissing, match="There is no warehouse")
    with missing, copies(tmp_path / "none.duckdb", {}):
        pass
    assert list(tmp_path.iterdir()) == []


# --- quarantine -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A school with a run in its history, whose quarantine has names, formulas and a broken record."""
    school = Installation(tmp_path_factory.mktemp("school"))
    school.deliver("students.csv", f"student_id,name,class_id\nS1,Bo,5A\n,{NAME},5A\n")
    rows = [["attend_id", "student_id", "date", "status", "note"]]
    rows += [[f"A{n}", evil, "2026-06-29", "P", "é"] for n, evil in enumerate(EVIL)]
    rows += [[f"G{n}", "S1", "2026-06-29", "P", ""] for n in range(20)]
    rows += [["B1", "S1", "2026-06-29", 'say "x",\ny', ""]]
    with (school.landing / "attendance.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
        file.write(f"{NAME},1\n")
    assert school.command("run").status == 0
    return school


@pytest.fixture
def refused(home: Installation, history: Installation) -> School:
    """A copy of that school's warehouse."""
    shutil.copyfile(history.warehouse, home.warehouse)
    return School(home.folder)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_quarantine_lists_ids_and_no_names(
    refused: School, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quarantine"]) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0].split() == ["source", "file", "row", "id", "student", "reason", "detail"]
    assert lines[-1] == "9 rows in quarantine."
    (unknown,) = (line for line in lines if "unknown_status" in line)
    assert unknown.split()[:6] == [
        "attendance",
        "attendance.csv",
        "27",
        "B1",
        "S1",
        "unknown_status",
    ]
    assert any("malformed_record" in line for line in lines)
    assert NAME not in said


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        (["--source", "students"], 1),
        (["--source", "attendance"], 8),
        (["--source", "assessments"], 0),
        (["--reason", "unknown_student"], 6),
        (["--reason", "unknown_status", "--source", "attendance"], 1),
        (["--reason", "unknown_status", "--source", "students"], 0),
    ],
)
def test_quarantine_lists_what_is_asked_for(
    refused: School, capsys: pytest.CaptureFixture[str], options: list[str], rows: int
) -> None:
    assert main(["quarantine", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{rows} row{'' if rows == 1 else 's'} in quarantine."
    assert len(lines) == (rows + 4 if rows else 1)


def test_the_csv_file_holds_all_of_it_for_its_owner_alone(
    refused: School, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "refused.csv"
    path.write_text("old")
    path.chmod(0o644)
    assert main(["quarantine", "--csv", str(path)]) == 0
    assert capsys.readouterr().out == f"9 rows written to {path}. It holds names: keep it safe.\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = path.read_bytes()
    assert content.count(b"\r\n") == 10
    rows = read_csv(path)
    assert list(rows[0]) == list(CSV_COLUMNS)
    assert len(rows) == 9
    (student,) = (row for row in rows if row["source"] == "students")
    assert (student["name"], student["reason"]) == (NAME, "missing_student_id")
    (broken,) = (row for row in rows if row["reason"] == "malformed_record")
    assert broken["_raw"] == f"{NAME},1"
    (status,) = (row for row in rows if row["reason"] == "unknown_status")
    assert status["status"] == 'say "x",\ny'
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".refused")] == []


def test_a_spreadsheet_takes_no_cell_of_the_csv_file_for_a_formula(
    refused: School, tmp_path: Path
) -> None:
    path = tmp_path / "refused.csv"
    assert main(["quarantine", "--csv", str(path), "--reason", "unknown_student"]) == 0
    rows = read_csv(path)
    assert sorted(row["student_id"] for row in rows) == sorted(f"'{evil}" for evil in EVIL)
    for row in rows:
        assert not [cell for cell in row.values() if cell.startswith(tuple("=+-@\t\r\n"))]
        assert row["_extra"] == '{"note":"é"}'


def test_many_rows_are_counted_and_the_first_are_shown(
    refused: School, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    refused.write(
        "INSERT INTO quarantine.attendance BY NAME SELECT 'f.csv' AS _source_file, n AS _source_row, "
        "'invalid_date' AS reason, 'd' AS detail FROM range(25000) AS r (n)"
    )
    assert main(["quarantine", "--reason", "invalid_date"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 100 + 3
    assert lines[-2] == "25,000 rows in quarantine."
    assert lines[-1].startswith("The first 100 are shown; `--csv FILE` writes all")
    assert main(["quarantine", "--csv", str(tmp_path / "all.csv")]) == 0
    assert len(read_csv(tmp_path / "all.csv")) == 25_009


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--reason", "bad"], "--reason: 'bad' is none of malformed_record, missing_student_id, "),
        (["--source", "teachers"], "--source: 'teachers' is none of students, attendance, asse"),
        (["--csv", "nowhere/x.csv"], "--csv: nowhere/x.csv can't be written: No such file or dir"),
        (["--csv", "."], "--csv: expected a file whose name ends in .csv, found ."),
        (["--csv", "w.duckdb"], "--csv: expected a file whose name ends in .csv, found w.duckdb."),
    ],
)
def test_wrong_usage_of_quarantine_is_a_sentence(
    refused: School, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    assert main(["quarantine", *options]) == 2
    assert capsys.readouterr().err.startswith(f"student-pipeline: {sentence}")


def test_no_csv_goes_into_the_landing_folder(
    refused: School, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDENT_PIPELINE_SOURCE", str(refused.landing))
    before = {path: path.read_bytes() for path in refused.landing.iterdir()}
    assert main(["quarantine", "--csv", str(refused.landing / "students.csv")]) == 2
    assert "lies in the landing folder" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in refused.landing.iterdir()} == before


def test_quarantine_without_a_warehouse_is_a_sentence(
    home: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quarantine"]) == 2
    assert "STUDENT_PIPELINE_WAREHOUSE: There is no warehouse" in capsys.readouterr().err


def test_quarantine_while_a_run_holds_the_warehouse_tells_what_is_known(
    history: Installation,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take_place(history, monkeypatch)
    path = tmp_path / "refused.csv"
    with held(history.warehouse) as holder:
        assert main(["quarantine", "--csv", str(path)]) == 1
    assert capsys.readouterr().err == (
        f"student-pipeline: The warehouse {history.warehouse} is in use by {holder.name}: most likely "
        "a run. Try again after it. Rows that the last run left in it: students 1, attendance 8, "
        "assessments 0.\n"
    )
    assert not path.exists()


def test_the_command_works_as_a_process_of_its_own(history: Installation) -> None:
    outcome = history.command("status")
    assert outcome.status in (0, 1)  # by the time of day
    assert "9 rows in quarantine." in outcome.out
    assert outcome.err == ""
