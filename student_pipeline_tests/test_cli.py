"""The command `student-pipeline`, run as people run it: a process of its own."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from student_pipeline import tables
from student_pipeline.progress import progress_logger
from student_pipeline.settings import PROJECT_ROOT
from student_pipeline.summary import print_summary
from student_pipeline_tests.command import (
    PLENTY_OF_SECONDS,
    Installation,
    Outcome,
    clean_environment,
)
from student_pipeline_tests.pipeline import School

CANARY = "Xanthippe Quodlibet"
"""A student's name. It may stand in the warehouse, and nowhere else."""

ROSTER = f"""student_id,name,class_id,grade,status,updated_at
S1,{CANARY} 1,C1,10,ACTIVE,2024-08-20T08:00:00Z
S2,{CANARY} 2,C1,10th,enrolled,2024-08-20T08:00:00Z
S3,{CANARY} 3,C2,K,ACTIVE,2024-08-20T08:00:00Z
S1,{CANARY} the elder,C1,9,ACTIVE,2023-08-20T08:00:00Z
,{CANARY} without an id,C2,1,ACTIVE,2024-08-20T08:00:00Z
"""
"""Three students; one row is an older version, one lacks its id."""

ATTENDANCE = """attend_id,student_id,date,status,created_at
A1,S1,2024-09-02,P,2024-09-02T08:00:00Z
A2,S2,2024-09-02,ABSENT,2024-09-02T08:00:00Z
A3,S3,2024-09-02,present,2024-09-02T08:00:00Z
A4,S1,2024-09-03,late,2024-09-03T08:00:00Z
A5,S2,2024-09-03,P,2024-09-03T08:00:00Z
A6,S3,2024-09-03,P,2024-09-03T08:00:00Z
A7,S1,2024-09-04,P,2024-09-04T08:00:00Z
A8,S2,2024-09-04,asleep,2024-09-04T08:00:00Z
A9,S9,2024-09-04,P,2024-09-04T08:00:00Z
"""
"""Nine records: one of an unknown status, one of an unknown student."""

ASSESSMENTS = f"""[
{{"assessment_id": "T1", "student_id": "S1", "subject": "Math", "score": 80, "max_score": 100,
  "date": "2024-09-03", "created_at": "2024-09-03T12:00:00Z"}},
{{"assessment_id": "T2", "student_id": "S2", "subject": "Math", "score": 130, "max_score": 100,
  "date": "2024-09-03", "created_at": "2024-09-03T12:00:00Z"}},
"{CANARY} is no record",
{{"assessment_id": "T3", "student_id": "S3", "subject": "Art", "score": 9, "max_score": 10,
  "date": "2024-09-04", "created_at": "2024-09-04T12:00:00Z"}},
{{"assessment_id": "T4", "student_id": "S3", "subject": "Art", "score": 8, "max_score": 10,
  "date": "2024-09-05", "created_at": "2024-09-05T12:00:00Z"}}
]
"""
"""Four records, one of them above its maximum, and a broken one."""

ROWS = {
    "bronze/students": 4,
    "bronze/attendance": 9,
    "bronze/assessments": 4,
    "silver/dim_student": 3,
    "silver/fact_attend": 7,
    "silver/fact_assess": 3,
    "quarantine/students": 1,
    "quarantine/attendance": 2,
    "quarantine/assessments": 2,
    "gold/class_daily_performance": 7,
    "gold/student_performance_summary": 3,
}
"""Asset -> rows, of the three files above."""

PUBLISHED = {
    "published/class_daily_performance": 7,
    "published/student_performance_summary": 3,
    "published/gold_duckdb": None,
    "published/report": None,
}
"""Published asset -> rows; some are no table."""

ASSETS = {*ROWS, *PUBLISHED}


def deliver_all(school: Installation) -> None:
    school.deliver("students.csv", ROSTER)
    school.deliver("attendance.csv", ATTENDANCE)
    school.deliver("assessments.json", ASSESSMENTS)


def no_traceback(outcome: Outcome) -> None:
    assert "Traceback" not in outcome.out + outcome.err
    assert 'File "' not in outcome.out + outcome.err


def mentions(folder: Path, text: str) -> list[Path]:
    """The files below a folder that hold the text, databases and logs included."""
    forms = (text.encode(), text.encode("utf-16-le"))
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and any(form in path.read_bytes() for form in forms)
    ]


# --- a first run, a second, a full refresh -------------------------------------------------------


@dataclass(frozen=True)
class Runs:
    """What three runs of one school said and left."""

    school: Installation
    waiting_line: str
    lines_before_the_warehouse_was_free: list[str]
    first: Outcome
    second: Outcome
    refreshed: Outcome
    tables: list[dict[str, list[tuple[Any, ...]]]]
    loaded_at: list[list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    school = Installation(tmp_path_factory.mktemp("school"))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    deliver_all(school)

    # Another process has the warehouse when the first run starts: the run must say so, and wait.
    with duckdb.connect(school.warehouse):
        process = school.start("run", nohup=True)
        assert process.stdout
        early: list[str] = []
        while not early or "Waiting" not in early[-1]:
            line = process.stdout.readline()
            assert line, process.communicate()
            early.append(line)
        process.send_signal(signal.SIGHUP)  # the terminal closes: `nohup` is for that
    out, err = process.communicate(timeout=PLENTY_OF_SECONDS)
    first = Outcome(process.returncode, "".join(early) + out, err)
    left, loaded_at = [school.tables()], [_loaded_at(school)]
    second = school.command("run", cwd=elsewhere)
    left.append(school.tables())
    loaded_at.append(_loaded_at(school))
    refreshed = school.command("run", "--full-refresh", cwd=elsewhere)
    left.append(school.tables())
    return Runs(school, early[-1], early[:-1], first, second, refreshed, left, loaded_at)


def _loaded_at(school: Installation) -> list[tuple[Any, ...]]:
    with duckdb.connect(school.warehouse, read_only=True) as connection:
        return connection.execute(
            "SELECT attend_id, _ingested_at, _load_id FROM bronze.attendance ORDER BY ALL"
        ).fetchall()


def test_a_good_run_ends_with_status_0_and_nothing_on_stderr(runs: Runs) -> None:
    for outcome in (runs.first, runs.second, runs.refreshed):
        assert outcome.status == 0, outcome
        assert outcome.err == ""


def test_a_run_says_first_what_it_works_on(runs: Runs) -> None:
    assert runs.first.out.splitlines()[:4] == [
        f"Landing folder: {runs.school.landing}",
        f"Warehouse:      {runs.school.warehouse}",
        f"Publish folder: {runs.school.folder / 'published'}",
        f"Run history:    {runs.school.home}",
    ]


def test_a_run_says_at_once_that_it_waits_for_the_warehouse_and_for_whom(runs: Runs) -> None:
    start = f"  Waiting for the warehouse {runs.school.warehouse}: it is in use by process "
    assert runs.waiting_line.startswith(f"{start}{os.getpid()} ")
    assert not any(" rows " in line for line in runs.lines_before_the_warehouse_was_free)


def test_a_line_for_each_asset_tells_its_rows_while_the_run_goes_on(runs: Runs) -> None:
    progress, _, _ = runs.first.out.partition("\nasset ")
    told = {
        match[1]: int(match[2])
        for match in re.finditer(r"^  (\w+/\w+) +(\d+) rows? +\d+\.\d s$", progress, re.MULTILINE)
    }
    assert told == ROWS | {name: rows for name, rows in PUBLISHED.items() if rows}


def test_one_row_is_not_called_rows(runs: Runs) -> None:
    assert re.search(r"quarantine/students +1 row +\d", runs.first.out)
    assert "1 rows" not in runs.first.out


def test_warnings_are_told_and_stop_nothing(runs: Runs) -> None:
    warnings = [line for line in runs.first.out.splitlines() if line.startswith("  warning ")]
    assert any(line.startswith("  warning silver/fact_attend: recent_data: ") for line in warnings)
    told = sum(int(row["warnings"] or 0) for row in runs.first.summary.values())
    assert told == len(warnings)
    assert f"passed, {told} warnings, 0 failed; " in runs.first.out


def test_the_table_at_the_end_tells_rows_and_change_of_each_asset(runs: Runs) -> None:
    summary = runs.first.summary
    rows = {name: int(row["rows"]) if row["rows"] else None for name, row in summary.items()}
    assert rows == ROWS | PUBLISHED
    for name, row in summary.items():
        if not name.startswith(("quarantine/", "published/")):
            assert row["change"] == f"+{ROWS[name]}", name
        assert re.fullmatch(r"\d+\.\d", row["seconds"]), name
        assert row["failed"] == "", name


def test_the_lines_below_the_table_add_it_up(runs: Runs) -> None:
    passed = sum(int(row["checks passed"]) for row in runs.first.summary.values())
    assert passed > 50
    last = runs.first.out.splitlines()[-4:]
    assert re.fullmatch(
        rf"{len(ASSETS)} assets, {passed} checks passed, \d+ warnings, 0 failed; \d+\.\d s\.",
        last[0],
    )
    assert last[1:] == [
        "5 rows in quarantine.",
        "3 files loaded, 17 rows of them new or changed.",
        f"Run {runs.first.run_id}: succeeded.",
    ]


def test_a_second_run_says_that_nothing_was_new_and_adds_nothing(runs: Runs) -> None:
    assert runs.second.out.splitlines()[-2] == "Nothing new: every file was loaded before."
    for name, row in runs.second.summary.items():
        assert row["rows"] == str((ROWS | PUBLISHED)[name] or "")
        assert row["change"] in ("0", ""), name
    assert runs.tables[1] == runs.tables[0]
    assert runs.loaded_at[1] == runs.loaded_at[0]


def test_a_full_refresh_is_asked_for_in_the_run_and_leaves_the_same_tables(runs: Runs) -> None:
    assert runs.tables[2] == runs.tables[1]
    with runs.school.history() as history:
        configs = {run.run_id: run.run_config for run in history.get_runs()}
    assert configs[runs.refreshed.run_id]["resources"] == {
        "warehouse": {"config": {"full_refresh": True}}
    }
    assert "resources" not in configs[runs.second.run_id]


def test_the_runs_are_in_the_history_of_dagster_home(runs: Runs) -> None:
    outcomes = (runs.first, runs.second, runs.refreshed)
    with runs.school.history() as history:
        found = {run.run_id: run for run in history.get_runs()}
        assert set(found) == {outcome.run_id for outcome in outcomes}
        for outcome in outcomes:
            assert found[outcome.run_id].status == dg.DagsterRunStatus.SUCCESS
            assert found[outcome.run_id].job_name == "student_data_pipeline"
            events = [
                record.dagster_event
                for record in history.all_logs(outcome.run_id)
                if record.dagster_event
            ]
            made = {
                event.asset_key.to_user_string()
                for event in events
                if event.is_step_materialization and event.asset_key
            }
            assert made == ASSETS
            passed: dict[str, int] = {}
            for event in events:
                if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                    found_by = event.asset_check_evaluation_data
                    name = found_by.asset_key.to_user_string()
                    passed[name] = passed.get(name, 0) + found_by.passed
            told = {name: int(row["checks passed"]) for name, row in outcome.summary.items()}
            assert told == passed


def test_no_name_of_a_student_leaves_the_warehouse(runs: Runs) -> None:
    assert CANARY.encode() in runs.school.landing.joinpath("students.csv").read_bytes()
    for outcome in (runs.first, runs.second, runs.refreshed):
        assert CANARY not in outcome.out
    assert mentions(runs.school.home, runs.first.run_id)  # the search finds what is there
    assert not mentions(runs.school.home, CANARY)


def test_a_fresh_dagster_home_gets_the_settings_of_the_project(runs: Runs) -> None:
    ours = PROJECT_ROOT / ".dagster_home" / "dagster.yaml"
    assert (runs.school.home / "dagster.yaml").read_text() == ours.read_text()


# --- status 1: the run failed --------------------------------------------------------------------


BAD_FILE = "attendance_\x1b[2J';.csv"


@dataclass(frozen=True)
class Failures:
    """What two more runs of that school said and left: one with a bad file, one that meets a bug."""

    school: Installation
    refused: Outcome
    broken: Outcome
    tables: list[dict[str, list[tuple[Any, ...]]]]


@pytest.fixture(scope="module")
def failures(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Failures:
    school = Installation(tmp_path_factory.mktemp("failures") / "school")
    shutil.copytree(runs.school.folder, school.folder)
    left = [school.tables()]
    bad = school.deliver(BAD_FILE, f"B1,S1,2024-09-05,{CANARY}\n")  # no header line
    school.deliver("attendance_3.csv", ATTENDANCE.replace("\nA", "\nC"))
    refused = school.command("run")
    left.append(school.tables())
    bad.unlink()
    with duckdb.connect(school.warehouse) as connection:
        # Nothing that we foresee: somebody made a view where our table was.
        connection.execute("DROP TABLE gold.student_performance_summary")
        connection.execute(
            "CREATE VIEW gold.student_performance_summary AS SELECT 42 AS student_id"
        )
    broken = school.command("run")
    left.append(school.tables())
    return Failures(school, refused, broken, left)


def test_a_refused_file_ends_the_run_with_status_1_and_its_name(failures: Failures) -> None:
    outcome = failures.refused
    assert outcome.status == 1
    no_traceback(outcome)
    assert outcome.err == ""
    told = [line for line in outcome.out.splitlines() if "FAILED" in line]
    assert told[0].startswith("  FAILED  bronze/attendance: files_readable: ")  # while it runs
    assert told[1].startswith("FAILED bronze/attendance: files_readable: ")  # and at the end
    assert "attendance_\\x1b[2J';.csv" in told[1]  # nothing that a terminal would obey
    assert "\x1b" not in outcome.out
    assert "student_id" in told[1]
    assert told[2] == f"Run {outcome.run_id}: FAILED."
    assert len(told) == 3
    assert failures.school.status_of(outcome.run_id) == dg.DagsterRunStatus.FAILURE


def test_what_waits_for_the_refused_file_is_named_and_stays(failures: Failures) -> None:
    outcome = failures.refused
    waiting = [line for line in outcome.out.splitlines() if line.startswith("Not made, ")]
    assert waiting == [
        "Not made, so as they were before: quarantine/attendance, silver/fact_attend, "
        "gold/class_daily_performance, gold/student_performance_summary, "
        f"{', '.join(sorted(PUBLISHED))}."
    ]
    assert outcome.summary["bronze/attendance"]["change"] == "+9"  # the other new file landed
    assert "in quarantine." not in outcome.out  # part of it is of an earlier run
    assert outcome.summary["bronze/attendance"]["failed"] == "1"
    before, after = failures.tables[:2]
    for name in ("silver.fact_attend", "gold.class_daily_performance"):
        assert after[name] == before[name]


def test_a_failed_run_says_what_was_loaded_and_refused_up_to_there(failures: Failures) -> None:
    lines = failures.refused.out.splitlines()
    assert "1 file loaded, 9 rows of them new or changed; 1 file refused." in lines
    assert "3 rows in quarantine/students, quarantine/assessments." in lines
    lines = failures.broken.out.splitlines()  # all was judged before it broke
    assert any(line.endswith(" rows in quarantine.") for line in lines)
    assert "Nothing new: every file was loaded before." in lines


def test_a_step_that_breaks_is_told_in_one_line(failures: Failures) -> None:
    outcome = failures.broken
    assert outcome.status == 1
    no_traceback(outcome)
    assert outcome.err == ""
    told = [line for line in outcome.out.splitlines() if line.startswith("FAILED")]
    assert len(told) == 1
    assert told[0].startswith("FAILED gold_student_performance_summary: ")
    assert "View" in told[0]
    waiting = ["gold/student_performance_summary", *sorted(PUBLISHED)]
    assert f"Not made, so as they were before: {', '.join(waiting)}." in outcome.out
    assert int(outcome.summary["gold/class_daily_performance"]["rows"]) == 7  # made all the same
    assert failures.school.status_of(outcome.run_id) == dg.DagsterRunStatus.FAILURE


def test_a_failed_run_tells_no_student_s_name(failures: Failures) -> None:
    for outcome in (failures.refused, failures.broken):
        assert CANARY not in outcome.out
    assert not mentions(failures.school.home, CANARY)


def test_a_data_file_whose_name_belongs_to_no_source_is_named(tmp_path: Path) -> None:
    school = Installation(tmp_path)
    deliver_all(school)
    for name in ("Students 2025.csv", "readme.txt", ".hidden.csv", "new.csv.part"):
        school.deliver(name, "student_id,name\n1,A\n")
    outcome = school.command("run")
    assert outcome.status == 0
    assert [line for line in outcome.out.splitlines() if line.startswith("Not read")] == [
        "Not read, since its name belongs to no source: Students 2025.csv"
    ]
    advice = next(line for line in outcome.out.splitlines() if line.startswith("A file is found"))
    assert "students.csv, students-2025.csv, students_2025.csv, or any name in a folder" in advice


def test_the_change_of_a_roster_is_the_rows_that_it_has_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    school = School(tmp_path)
    roster = "student_id,name,class_id,status\nS1,Ann,5A,ACTIVE\nS2,Bob,5A,ACTIVE\n"
    school.deliver("students.csv", roster)
    school.run()
    school.deliver("students.csv", roster.replace("5A", "5B") + "S3,Cid,5B,ACTIVE\n")
    print_summary(school.run(), [], [], 1.0)
    out = capsys.readouterr().out
    assert Outcome(0, out, "").summary["bronze/students"]["change"] == "+1"  # two were replaced
    assert "1 file loaded, 3 rows of them new or changed." in out


SELECTED = "Made in the same step, so too: "


def test_a_selection_runs_these_tables_and_says_what_comes_along(
    runs: Runs, tmp_path: Path
) -> None:
    school = Installation(tmp_path / "school")
    shutil.copytree(runs.school.folder, school.folder)
    gold = school.command("run", "--select", "gold.student_performance_summary")  # as `status` says
    assert set(gold.summary) == {"gold/student_performance_summary"}
    assert SELECTED not in gold.out
    published = school.command("run", "--select", "published/report")
    assert set(published.summary) == PUBLISHED.keys()
    assert (
        f"{SELECTED}published/class_daily_performance, published/gold_duckdb, "
        "published/student_performance_summary.\n"
    ) in published.out
    silver = school.command("run", "--full-refresh", "--select", "silver/fact_attend")
    assert f"{SELECTED}quarantine/attendance.\n" in silver.out
    assert gold.status == published.status == silver.status == 0


@pytest.mark.parametrize("table", ["bronze/students", "published/report"])
def test_a_full_refresh_of_what_is_not_rebuilt_gets_a_sentence(
    installed: Installation, table: str
) -> None:
    outcome = installed.command("run", "--full-refresh", "--select", table)
    assert outcome.status == 2
    assert outcome.err.startswith(
        "student-pipeline: --full-refresh rebuilds silver, quarantine and gold from bronze; it has "
        "nothing to do for "
    )
    assert table in outcome.err
    assert "Leave it out, or select other tables." in outcome.err
    assert not installed.warehouse.exists()


def test_a_landing_folder_without_files_names_folder_and_patterns(tmp_path: Path) -> None:
    school = Installation(tmp_path)
    school.landing.mkdir()
    school.deliver("notes.txt", "Nothing to see here.")
    outcome = school.command("run")
    assert outcome.status == 1
    no_traceback(outcome)
    told = next(line for line in outcome.out.splitlines() if line.startswith("FAILED bronze/stud"))
    assert f"There is no source file in the landing folder {school.landing}" in told
    assert "students_*.<ext>" in told
    assert "attendance/**/*.<ext>" in told


def test_a_run_that_is_told_to_stop_ends_as_a_failed_one(tmp_path: Path) -> None:
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    schools = [Installation(tmp_path / name.name) for name in signals]
    with ExitStack() as stack:
        for school in schools:
            deliver_all(school)
            stack.enter_context(duckdb.connect(school.warehouse))
        processes = [school.start("run") for school in schools]
        for process in processes:
            while "Waiting" not in next(process.stdout or iter(())):
                pass
        for process, number in zip(processes, signals, strict=True):
            while process.poll() is None:
                process.send_signal(number)
                # Twice where Dagster's own bookkeeping swallowed it.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)
    for school, process in zip(schools, processes, strict=True):
        outcome = Outcome(process.returncode, *process.communicate())
        assert outcome.status == 1, outcome
        no_traceback(outcome)
        assert "It was interrupted." in outcome.out
        assert school.status_of(outcome.run_id) == dg.DagsterRunStatus.FAILURE


# --- status 2: wrong usage or settings -----------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installation]:
    """Good files in the landing folder; whatever a wrong setting meets, it leaves no warehouse."""
    school = Installation(tmp_path)
    deliver_all(school)
    (tmp_path / "a_file").write_text("This is no folder and no database.")
    yield school
    assert not school.warehouse.exists()


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("STUDENT_PIPELINE_SOURCE", "nowhere", "The landing folder {value} does not exist."),
        ("STUDENT_PIPELINE_SOURCE", "a_file", "The landing folder {value} is not a folder."),
        ("STUDENT_PIPELINE_WAREHOUSE", "a_file/w.db", "{value} can't be written: "),
        ("STUDENT_PIPELINE_WAREHOUSE", "landing", "{value} is a folder; expected a DuckDB file."),
        ("STUDENT_PIPELINE_WAREHOUSE", "a_file", "{value} is not a DuckDB file."),
        ("STUDENT_PIPELINE_PUBLISH", "a_file", "{value} is no folder; expected one."),
        ("STUDENT_PIPELINE_PUBLISH", "a_file/deeper", "{value} can't be written: "),
        ("DAGSTER_HOME", "a_file", "the folder {value} can't be written: "),
        ("DAGSTER_HOME", "a_file/home", "the folder {value} can't be written: "),
    ],
)
def test_a_wrong_place_gets_a_sentence(
    installed: Installation, setting: str, value: str, sentence: str
) -> None:
    place = str(installed.folder / value)
    outcome = installed.command("run", **{setting: place})
    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err.startswith(f"student-pipeline: {setting}: {sentence.format(value=place)}")
    assert len(outcome.err.splitlines()) == 1
    assert (installed.folder / "a_file").read_text() == "This is no folder and no database."


@pytest.mark.parametrize(
    ("content", "reason"),
    [("storage: [", "expected the node content"), ("stroage: 1", '"stroage"')],
)
def test_a_wrong_dagster_yaml_gets_a_sentence(
    installed: Installation, content: str, reason: str
) -> None:
    installed.home.mkdir()
    (installed.home / "dagster.yaml").write_text(content)
    outcome = installed.command("run")
    assert outcome.status == 2
    assert outcome.out == ""
    start = f"student-pipeline: DAGSTER_HOME: Dagster can't use {installed.home} and its dagster.ya"
    assert outcome.err.startswith(start)
    assert reason in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_a_broken_run_history_gets_a_sentence(installed: Installation) -> None:
    (installed.home / "history" / "runs").mkdir(parents=True)
    (installed.home / "history" / "runs.db").write_text("This is no database. " * 50)
    outcome = installed.command("run")
    assert outcome.status == 2
    assert "file is not a database" in outcome.err
    assert len(outcome.err.splitlines()) == 1
    (installed.home / "history" / "runs.db").unlink()
    (installed.home / "history" / "runs" / "index.db").write_text("This is no database. " * 50)
    outcome = installed.command("run")
    assert outcome.status == 1
    assert outcome.err.startswith("student-pipeline: the run broke off: ")
    assert "file is not a database" in outcome.err
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["walk"],
        ["run", "--full-refesh"],
        ["run", "now"],
        ["sample"],
        ["sample", "x", "--students", "many"],
    ],
)
def test_a_wrong_option_shows_the_usage(installed: Installation, arguments: list[str]) -> None:
    outcome = installed.command(*arguments)
    assert outcome.status == 2
    assert outcome.err.startswith("usage: student-pipeline ")
    no_traceback(outcome)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sample", "x", "--students", "1"], "A sample needs at least 2 students "),
        (["sample", "x", "--attendance", "-1"], "A sample needs at least 2 students "),
        (["sample", "a_file"], "a_file can't be written: "),
        (["sample", "a_file/deeper"], "a_file/deeper can't be written: "),
    ],
)
def test_an_impossible_sample_gets_a_sentence(
    installed: Installation, arguments: list[str], sentence: str
) -> None:
    outcome = installed.command(*arguments)
    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err.startswith(f"student-pipeline: {sentence}")
    assert len(outcome.err.splitlines()) == 1


# --- other files, other terminals ---------------------------------------------------------------

HOSTILE = [
    "Robert'); DROP TABLE students;--",
    "\"; ATTACH 'x' AS y; --\"",
    "{{ config }} ${HOME} %s $1 ?",
    "\x1b[31mred\x1b[0m",
    "\u202egnirts",
    "naïve ☃ 😀",
    "=cmd|' /C calc'!A0",
    "../../etc/passwd",
]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Installation, Outcome]:
    """A school with such ids, names, headers and file names, run in a terminal without letters."""
    school = Installation(tmp_path_factory.mktemp('Bobby\'s "school"; DROP TABLE x --'))
    header = f"student_id,name,class_id,status,{_csv(HOSTILE[0])},select * from x\n"
    rows = [f"{_csv(text)},{_csv(text)},{_csv(text)},ACTIVE,{_csv(text)},1\n" for text in HOSTILE]
    school.deliver("students_'; DROP TABLE bronze.students; --.csv", header + "".join(rows))
    attendance = [
        f"{_csv(text)},{_csv(text)},2024-09-02,P\n{_csv('x' + text)},{_csv(text)},{_csv(text)},P\n"
        for text in HOSTILE
    ]
    school.deliver(
        'attendance_"$(touch owned)"\x1b[2J\n.csv',
        "attend_id,student_id,date,status\n" + "".join(attendance),
    )
    outcome = school.command("run", PYTHONIOENCODING="ascii")
    return school, outcome


def _csv(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def test_hostile_texts_are_texts(hostile: tuple[Installation, Outcome]) -> None:
    school, outcome = hostile
    assert outcome.status == 0, outcome
    no_traceback(outcome)
    left = school.tables()
    ids = sorted(HOSTILE)
    assert sorted(row[0] for row in left["bronze.students"]) == ids
    assert sorted(row[0] for row in left["silver.dim_student"]) == ids
    assert sorted(row[1] for row in left["silver.fact_attend"]) == ids
    assert [row[-3] for row in left["quarantine.attendance"]] == ["invalid_date"] * len(HOSTILE)
    assert sorted(row[0] for row in left["gold.student_performance_summary"]) == ids
    assert set(left) == {table.full_name for table in tables.TABLES.values()} - {
        name for name in tables.TABLES if name.startswith("ops.")
    }
    assert not list(school.folder.rglob("owned"))


def test_a_terminal_gets_no_control_characters(hostile: tuple[Installation, Outcome]) -> None:
    _, outcome = hostile
    assert outcome.out.isascii()
    assert all(line.isprintable() for line in outcome.out.splitlines())


def test_a_run_goes_on_when_nobody_reads_its_output_any_more(tmp_path: Path) -> None:
    school = Installation(tmp_path)
    deliver_all(school)
    process = school.start("run")
    assert process.stdout
    assert process.stderr
    process.stdout.readline()
    process.stdout.close()  # as `| head -1` does
    err = process.stderr.read()
    assert process.wait(PLENTY_OF_SECONDS) == 0
    process.stderr.close()
    assert err == ""
    assert len(school.tables()["gold.student_performance_summary"]) == 3
    with school.history() as history:
        assert [run.status for run in history.get_runs()] == [dg.DagsterRunStatus.SUCCESS]


def test_a_sample_of_another_size_and_a_run_on_it(tmp_path: Path) -> None:
    school = Installation(tmp_path)
    sizes = ["--students", "40", "--attendance", "300", "--assessments", "90", "--clean"]
    sample = school.command("sample", str(school.landing), *sizes, "--seed", "7")
    assert sample.status == 0
    assert sample.err == ""
    lines = sample.out.splitlines()
    assert [line.split()[:3] for line in lines[:3]] == [
        ["students", "40", "rows,"],
        ["attendance", "300", "rows,"],
        ["assessments", "90", "rows,"],
    ]
    assert lines[3].startswith(f"Written to {school.landing} in ")

    # The installed command, as the README has it; a relative path is one of the current folder.
    script = Path(sys.executable).with_name("student-pipeline")
    relative = {"STUDENT_PIPELINE_SOURCE": "landing", "STUDENT_PIPELINE_WAREHOUSE": "new/w.duckdb"}
    done = subprocess.run(
        [script, "run"],
        cwd=tmp_path,
        env=school.environment(**relative),
        capture_output=True,
        encoding="utf-8",
        timeout=PLENTY_OF_SECONDS,
        check=False,
    )
    outcome = Outcome(done.returncode, done.stdout, done.stderr)
    assert outcome.status == 0, outcome
    assert outcome.summary["bronze/students"]["rows"] == "40"
    assert outcome.summary["bronze/attendance"]["rows"] == "300"
    assert outcome.summary["bronze/assessments"]["rows"] == "90"
    assert (tmp_path / "new" / "w.duckdb").exists()


@pytest.mark.parametrize(("tries", "succeeds"), [(1, True), (0, False)])
def test_a_step_that_tries_again_says_why(
    capsys: pytest.CaptureFixture[str], tries: int, succeeds: bool
) -> None:
    @dg.op
    def fickle(context: dg.OpExecutionContext) -> None:
        if context.retry_number == 0:
            try:
                raise dg.Failure("The file students.csv changed\nwhile it was read.")
            except dg.Failure as error:
                raise dg.RetryRequested(tries) from error

    @dg.job(logger_defs={"progress": progress_logger})
    def job() -> None:
        fickle()

    result = job.execute_in_process(run_config={"loggers": {"progress": {}}}, raise_on_error=False)
    print_summary(result, [], [], seconds=1)
    assert result.success is succeeds
    reason = "fickle: The file students.csv changed while it was read."
    lines = capsys.readouterr().out.splitlines()
    assert (f"  {reason} Trying again." in lines) is succeeds
    assert (f"FAILED {reason}" in lines) is not succeeds


def test_help_costs_no_second_and_names_the_commands(tmp_path: Path) -> None:
    outcome = Installation(tmp_path).command("--help")
    assert outcome.status == 0
    assert "run " in outcome.out
    assert "sample " in outcome.out


def test_the_command_imports_no_pandas() -> None:
    """It would make every run half a second slower."""
    code = (
        "import sys, student_pipeline.cli, student_pipeline.definitions, student_pipeline.summary; "
        "print([name for name in ('pandas', 'numpy', 'pyarrow', 's3fs') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
