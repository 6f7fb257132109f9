"""From files to bronze: what is loaded, what is refused, and what the ledger says of it."""

import hashlib
import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from student_pipeline import tables
from student_pipeline.ingest import bulk, discovery, snapshot, staging
from student_pipeline.ingest.delivery import Delivery
from student_pipeline.ingest.layout import HeaderMatcher
from student_pipeline.ingest.limits import Limits
from student_pipeline.ingest.snapshot import TextSurvey
from student_pipeline.sources import ASSESSMENTS, ATTENDANCE, STUDENTS, Source
from student_pipeline.warehouse import strategies
from student_pipeline.warehouse.connection import connect
from student_pipeline_tests.pipeline import NOW, School, failed_checks

ROSTER = "student_id,name\n1,Ann\n2,Bob\n"
MARKS = "attend_id,student_id,date,status\nA1,1,2026-01-05,P\nA2,2,2026-01-05,A\n"
SCORES = '[{"assessment_id": "T1", "student_id": 1, "date": "2026-01-05", "score": 9}]'
LATER = NOW + timedelta(hours=1)


def load(
    school: School,
    source: Source = STUDENTS,
    *,
    now: datetime = NOW,
    limit: float = 0.2,
    run_id: str = "a run",
    url: str | None = None,
    found: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Load the new files of one source as its bronze asset does, without the rest of a run.

    Args:
        found: what happens when the files are found and none is opened yet.
    """
    table = tables.TABLES[f"bronze.{source.name}"]
    files = discovery.find_files(url or str(school.landing), source)
    delivery = Delivery(source, files, HeaderMatcher(source, {}), limit, now)
    found()
    connection = connect(school.warehouse)
    try:
        connection.begin()
        strategies.ensure_table(connection, table)
        counts = delivery.write(
            connection, lambda incoming: strategies.write(connection, table, incoming), run_id
        )
        connection.commit()
    finally:
        connection.close()
    return dict(counts)


def ledger(school: School, columns: str = "path, status, rows_appended") -> list[tuple[Any, ...]]:
    """Columns of the ledger, by path, time and load."""
    return school.query(
        f"SELECT {columns} FROM ops.source_files ORDER BY path, loaded_at, _load_id"
    )


def names(school: School) -> dict[str, str]:
    """Student id -> name in bronze."""
    return dict(school.query("SELECT student_id, name FROM bronze.students"))


# --- the ledger -----------------------------------------------------------------------------------


def test_the_ledger_has_a_row_for_everything(school: School) -> None:
    roster = school.deliver("students.csv", ROSTER)
    school.deliver("students_2.csv", "x\n3,Cid\n")
    school.deliver("students_3.csv.part", "half")
    marks = school.deliver("attendance.csv", f"{MARKS}A3,1,2026-01-06,P\nA1,1,2026-01-05,P\nA4,1\n")
    first = school.run()
    assert not first.success
    assert [name for name, *_ in school.query("DESCRIBE ops.source_files")] == [
        *("source", "path", "size_bytes", "sha256", "encoding", "rows_read", "rows_appended"),
        *("rows_rejected", "status", "message", "_load_id", "run_id", "loaded_at"),
    ]
    rows = {row["path"]: row for row in school.rows("ops.source_files")}
    load_ids = {rows[path].pop("_load_id") for path in ("students.csv", "attendance.csv")}
    assert load_ids == {1, 2}
    common = {"encoding": "utf-8", "message": None, "run_id": first.run_id, "loaded_at": NOW}
    assert rows["students.csv"] == common | {
        "source": "students",
        "path": "students.csv",
        "size_bytes": roster.stat().st_size,
        "sha256": hashlib.sha256(roster.read_bytes()).hexdigest(),
        "rows_read": 2,
        "rows_appended": 2,
        "rows_rejected": 0,
        "status": "loaded",
        "message": "It lacks the columns class_id, status.",
    }
    assert rows["attendance.csv"] == common | {
        "source": "attendance",
        "path": "attendance.csv",
        "size_bytes": marks.stat().st_size,
        "sha256": hashlib.sha256(marks.read_bytes()).hexdigest(),
        "rows_read": 4,
        "rows_appended": 3,  # a row that stands twice is one
        "rows_rejected": 1,
        "status": "loaded",
    }
    assert rows["students_2.csv"] == common | {
        "source": "students",
        "path": "students_2.csv",
        "size_bytes": 8,
        "sha256": hashlib.sha256(b"x\n3,Cid\n").hexdigest(),
        "encoding": None,
        "rows_read": None,
        "rows_appended": 0,
        "rows_rejected": None,
        "status": "refused",
        "message": "Expected the column student_id, found only 1 field without a known name "
        "(is the header line missing?).",
        "_load_id": None,
    }
    assert rows["students_3.csv.part"] == common | {
        "source": "students",
        "path": "students_3.csv.part",
        "size_bytes": None,
        "sha256": None,
        "encoding": None,
        "rows_read": None,
        "rows_appended": 0,
        "rows_rejected": None,
        "status": "passed_over",
        "message": "Passed over: names that end in .part are temporary.",
        "_load_id": None,
    }

    # What is loaded stays as it was; what was tried again has the time and run of that.
    second = school.run(now=LATER)
    assert second.run_id != first.run_id
    assert ledger(school, "path, status, run_id, loaded_at") == [
        ("attendance.csv", "loaded", first.run_id, NOW),
        ("students.csv", "loaded", first.run_id, NOW),
        ("students_2.csv", "refused", second.run_id, LATER),
        ("students_3.csv.part", "passed_over", second.run_id, LATER),
    ]


@pytest.mark.parametrize("big", [False, True], ids=["record by record", "in bulk"])
@pytest.mark.parametrize(
    ("columns", "note"),
    [
        ("subject score max_score created_at", None),
        ("subject score mood", "It lacks the column max_score. Its headers that no column knows: 'mood'."),
        ("subject score max_score mood", None),
        ("subject score", None),  # the maximum is then 100
        ("score", "It lacks the column subject."),
        ("", "It lacks the columns subject, score."),
    ],
)  # fmt: skip
def test_a_file_is_noted_for_what_silver_misses(
    school: School, monkeypatch: pytest.MonkeyPatch, columns: str, note: str | None, big: bool
) -> None:
    monkeypatch.setattr(bulk, "MIN_BYTES", 0 if big else 1 << 30)
    names = ["assessment_id", "student_id", "date", *columns.split()]
    record = dict.fromkeys(names, "7")
    school.deliver("assessments.csv", ",".join(names) + "\n" + ",".join(record.values()) + "\n")
    school.deliver("assessments.json", json.dumps([record]))
    school.deliver("assessments.jsonl", json.dumps(record) + "\n")
    fields = ", ".join(f"7 AS {name}" for name in names)
    duckdb.sql(f"COPY (SELECT {fields}) TO '{school.landing / 'assessments.parquet'}'")
    school.deliver("assessments-empty.csv", "assessment_id,student_id,date,mood\n")
    load(school, ASSESSMENTS)
    assert ledger(school, "path, message") == [
        ("assessments-empty.csv", None),
        *((f"assessments.{ending}", note) for ending in ("csv", "json", "jsonl", "parquet")),
    ]


def test_every_version_of_a_file_has_its_row(school: School) -> None:
    versions = ["x\n1\n", "y\n1\n", "x\n1\n", ROSTER, "y\n1\n", ROSTER, f"{ROSTER}3,Cid\n", ROSTER]
    for hour, content in enumerate(versions):
        school.deliver("students.csv", content)
        load(school, now=NOW + timedelta(hours=hour), run_id=f"run {hour}")
    assert ledger(school, "status, rows_read, _load_id, run_id") == [
        ("refused", None, None, "run 2"),  # the version x, tried again
        ("loaded", 2, 1, "run 3"),
        ("refused", None, None, "run 4"),  # the version y
        # Run 5 brings what was loaded last: nothing to do.
        ("loaded", 3, 2, "run 6"),
        ("loaded", 2, 3, "run 7"),  # what was loaded before last is read again
    ]


def test_what_is_loaded_is_not_read_again(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    file = school.deliver("students.csv", ROSTER)
    school.deliver("attendance.csv", MARKS)
    assert school.run().success
    before = (ledger(school, "*"), school.rows("bronze.students"), school.rows("bronze.attendance"))

    def stage(*_: object) -> None:
        raise AssertionError("a file was read again")

    monkeypatch.setattr(staging, "stage", stage)
    os.utime(file, (1, 1))  # touched, but not changed
    assert school.run(now=LATER).success
    after = (ledger(school, "*"), school.rows("bronze.students"), school.rows("bronze.attendance"))
    assert after == before


def test_load_ids_grow_over_all_sources_and_source_rows_count_per_file(school: School) -> None:
    school.deliver("students.csv", ROSTER)
    school.deliver("attendance_1.csv", MARKS)
    school.deliver("attendance_2.csv", MARKS.replace("A", "B") + "B3\n" + "B4,1,2026-01-07,P\n" * 3)
    school.deliver("assessments.json", SCORES)
    for source in (ATTENDANCE, STUDENTS, ASSESSMENTS):
        load(school, source)
    first = {load_id for (load_id,) in school.query("SELECT _load_id FROM ops.source_files")}
    assert first == {1, 2, 3, 4}
    school.deliver("attendance_1.csv", f"{MARKS}A3,1,2026-01-07,P\n")
    school.deliver("students_2.csv", "student_id\n3\n")
    for source in (STUDENTS, ATTENDANCE, ASSESSMENTS):
        load(school, source)
    newer = dict(school.query("SELECT path, _load_id FROM ops.source_files WHERE _load_id > 4"))
    assert newer == {"students_2.csv": 5, "attendance_1.csv": 6}
    facts = "SELECT attend_id, _source_file, _source_row FROM bronze.attendance ORDER BY 1"
    assert school.query(facts) == [
        ("A1", "attendance_1.csv", 1),
        ("A2", "attendance_1.csv", 2),
        ("A3", "attendance_1.csv", 3),
        ("B1", "attendance_2.csv", 1),
        ("B2", "attendance_2.csv", 2),
        ("B4", "attendance_2.csv", 3),  # a malformed record has no number
    ]
    for table in ("students", "attendance", "assessments"):
        assert school.query(
            f"SELECT count(*) FROM bronze.{table} AS row LEFT JOIN ops.source_files AS file ON "
            "row._load_id = file._load_id AND row._source_file = file.path WHERE file.path IS NULL"
        ) == [(0,)]


# --- facts ----------------------------------------------------------------------------------------


def marks(*rows: str) -> str:
    """An attendance file."""
    return "\n".join(["attend_id,student_id,date,status,created_at,note", *rows, ""])


def test_only_what_is_new_is_appended(school: School) -> None:
    first, second = "A1,1,2026-01-05,P,,", "A2,2,2026-01-05,A,,"
    school.deliver("attendance.csv", marks(first, second, first))
    counts = load(school, ATTENDANCE)
    assert (counts["rows_read"], counts["rows_added"]) == (3, 2)
    # It grew, by a correction, by a row that was there, and by a new one.
    school.deliver(
        "attendance.csv", marks(first, second, first, "A1,1,2026-01-05,A,,", second, "A3,1,x,y,z,w")
    )
    assert load(school, ATTENDANCE, now=LATER)["rows_added"] == 2
    # The same rows under another name, in another order.
    school.deliver("attendance_copy.csv", marks(second, first))
    assert load(school, ATTENDANCE)["rows_added"] == 0
    # A shorter version takes nothing away.
    school.deliver("attendance.csv", marks(second))
    assert load(school, ATTENDANCE)["rows_added"] == 0
    rows = school.query(
        "SELECT attend_id, status, _source_file, _source_row, _load_id, _ingested_at "
        "FROM bronze.attendance ORDER BY _load_id, _source_row"
    )
    assert rows == [
        ("A1", "P", "attendance.csv", 1, 1, NOW),
        ("A2", "A", "attendance.csv", 2, 1, NOW),
        ("A1", "A", "attendance.csv", 4, 2, LATER),
        ("A3", "y", "attendance.csv", 6, 2, LATER),
    ]
    assert ledger(school) == [
        ("attendance.csv", "loaded", 2),
        ("attendance.csv", "loaded", 0),
        ("attendance.csv", "loaded", 2),
        ("attendance_copy.csv", "loaded", 0),
    ]


@pytest.mark.parametrize(
    ("other", "added"),
    [
        ("A1,1,2026-01-05,P,,", 0),
        ('"A1",1,2026-01-05,P,"",""', 0),
        (" A1,1,2026-01-05,P,,", 1),
        ("a1,1,2026-01-05,P,,", 1),
        ("A1,01,2026-01-05,P,,", 1),
        ("A1,1,2026-01-05,,,", 1),
        ("A1,1,2026-01-05,P,,x", 1),
        (",1,2026-01-05,P,,", 1),
    ],
)
def test_identical_means_every_column(school: School, other: str, added: int) -> None:
    school.deliver("attendance_1.csv", marks("A1,1,2026-01-05,P,,"))
    load(school, ATTENDANCE)
    school.deliver("attendance_2.csv", marks(other, other))
    assert load(school, ATTENDANCE)["rows_added"] == added
    school.deliver("attendance_3.csv", marks(other))
    assert load(school, ATTENDANCE)["rows_added"] == 0


def test_rows_without_anything_in_them_are_kept_once(school: School) -> None:
    school.deliver("attendance.csv", marks(",,,,,", ",,,,,"))
    assert load(school, ATTENDANCE)["rows_added"] == 1
    school.deliver("attendance_2.csv", marks(",,,,,"))
    assert load(school, ATTENDANCE)["rows_added"] == 0


# --- the roster -----------------------------------------------------------------------------------

EARLY, LATE = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
IN_ZONE = "2026-01-31T23:00:00-05:00"  # four hours after LATE


@pytest.mark.parametrize(
    ("stored", "incoming", "wins"),
    [
        (EARLY, LATE, True),
        (LATE, EARLY, False),
        (LATE, LATE, True),
        (LATE, IN_ZONE, True),
        (IN_ZONE, LATE, False),
        (LATE, "2026-01-31", False),
        (LATE, "", True),
        ("", EARLY, True),
        ("", "", True),
        (LATE, "yesterday", True),
        ("soon", EARLY, True),
        (LATE, "NULL", True),
        (f" {LATE} ", EARLY, False),
    ],
)
def test_an_incoming_row_replaces_the_stored_one_unless_it_is_older(
    school: School, stored: str, incoming: str, wins: bool
) -> None:
    school.deliver("students_1.csv", f"student_id,name,updated_at\n1,old,{stored}\n2,other,\n")
    load(school)
    school.deliver("students_2.csv", f"student_id,name,updated_at\n1,new,{incoming}\n")
    counts = load(school, now=LATER)
    assert names(school) == {"1": "new" if wins else "old", "2": "other"}
    assert counts["rows_added"] == (1 if wins else 0)
    lineage = "SELECT _source_file, _source_row, _load_id, _ingested_at FROM bronze.students "
    assert school.query(f"{lineage} WHERE student_id = '1'") == [
        ("students_2.csv", 1, 2, LATER) if wins else ("students_1.csv", 1, 1, NOW)
    ]


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        (["a,", "b,"], "b"),
        ([f"a,{EARLY}", f"b,{LATE}"], "b"),
        ([f"a,{LATE}", f"b,{EARLY}"], "a"),
        ([f"a,{LATE}", f"b,{LATE}"], "b"),
        ([f"a,{EARLY}", "b,"], "a"),
        (["a,", f"b,{EARLY}", "c,never"], "b"),
        ([f"a,{LATE}", f"b,{IN_ZONE}", f"c,{LATE}"], "b"),
    ],
)
def test_the_same_id_twice_in_a_file(school: School, rows: list[str], kept: str) -> None:
    school.deliver(
        "students.csv", "\n".join(["student_id,name,updated_at", *(f"7,{row}" for row in rows)])
    )
    assert load(school)["rows_added"] == 1
    assert names(school) == {"7": kept}
    number = "abc".index(kept) + 1
    assert school.query("SELECT _source_row FROM bronze.students") == [(number,)]


def test_ids_are_the_same_when_they_are_trimmed(school: School) -> None:
    school.deliver("students_1.csv", "student_id,name\n7,a\n07,b\nx,c\n")
    load(school)
    school.deliver("students_2.csv", "student_id,name\n 7\u00a0,d\n\u200bx,e\nX,f\n")
    assert load(school)["rows_added"] == 3
    assert names(school) == {" 7\u00a0": "d", "07": "b", "\u200bx": "e", "X": "f"}


def test_an_identical_row_changes_nothing(school: School) -> None:
    row = f"1,Ann,{EARLY},x"
    header = "student_id,name,updated_at,note\n"
    school.deliver("students.csv", f"{header}{row}\n2,Bob,,\n")
    load(school)
    before = school.rows("bronze.students")
    school.deliver("students_2.csv", f"{header}2,Bob,,\n3,Cid,,\n{row}\n")
    assert load(school, now=LATER)["rows_added"] == 1
    after = school.rows("bronze.students")
    assert [row for row in after if row["student_id"] != "3"] == before
    # Another value of a column that the contract does not know is a change.
    school.deliver("students_3.csv", f"{header}1,Ann,{EARLY},y\n")
    assert load(school, now=LATER)["rows_added"] == 1


def test_a_student_who_is_missing_from_a_later_file_stays(school: School) -> None:
    school.deliver("students.csv", ROSTER)
    load(school)
    school.deliver("students.csv", "student_id,name\n2,Bea\n")
    load(school)
    assert names(school) == {"1": "Ann", "2": "Bea"}
    (school.landing / "students.csv").unlink()
    load(school)
    assert names(school) == {"1": "Ann", "2": "Bea"}


def test_rows_without_an_id_are_kept_once(school: School) -> None:
    content = "student_id,name\n,Ann\nNULL,Ann\n,Ann\n -\u2003,Bob\nn/a,\n,\n,\n"
    school.deliver("students.csv", content)
    assert load(school)["rows_added"] == 5
    school.deliver("students_2.csv", f"{content},Cid\n")
    assert load(school)["rows_added"] == 1
    found = school.query("SELECT student_id, name FROM bronze.students ORDER BY ALL NULLS FIRST")
    assert found == [
        (None, None),
        (None, "Ann"),
        (None, "Cid"),
        (" -\u2003", "Bob"),
        ("NULL", "Ann"),
        ("n/a", None),
    ]


# --- malformed records ----------------------------------------------------------------------------


def quarantined(school: School) -> list[tuple[Any, ...]]:
    """What stands in the quarantine of the roster."""
    return school.query(
        "SELECT _source_file, detail, _raw, _load_id FROM quarantine.students "
        "WHERE reason = 'malformed_record' AND student_id IS NULL AND _source_row IS NULL "
        "ORDER BY _source_file, detail"
    )


def test_malformed_records_stand_as_long_as_the_newest_loaded_version_has_them(
    school: School,
) -> None:
    good = "".join(f"{n},x\n" for n in range(20))
    one = ("students.csv", "Line 2: expected 2 fields, found 1.", "bad", 1)
    other = ("students_2.csv", "Line 2: expected 2 fields, found 3.", "a,b,c", 2)
    school.deliver("students.csv", f"student_id,name\nbad\n{good}")
    school.deliver("students_2.csv", f"student_id,name\na,b,c\n{good}")
    assert load(school)["rows_malformed"] == 2
    assert quarantined(school) == [one, other]
    # A version that is refused changes nothing, and neither does a run with nothing new.
    school.deliver("students.csv", "bad\n")
    load(school)
    load(school)
    assert quarantined(school) == [one, other]
    # A newer version: one record is mended, another is broken now.
    school.deliver("students.csv", f'student_id,name\nbad,x\n{good}"worse\n')
    load(school)
    worse = ("students.csv", "Line 23: a quoted field does not end where it should.", '"worse', 3)
    assert quarantined(school) == [worse, other]
    # The file is gone: its newest loaded version still is the one that had it.
    (school.landing / "students_2.csv").unlink()
    school.deliver("students.csv", f"student_id,name\nbad,x\n{good}")
    load(school)
    assert quarantined(school) == [other]


def test_malformed_records_survive_what_silver_does(school: School) -> None:
    school.deliver(
        "students.csv", ROSTER + ",Nobody\n" + "".join(f"{n},x\n" for n in range(9)) + "bad\n"
    )
    for full_refresh in (False, True):
        assert school.run(full_refresh=full_refresh).success
        found = school.query("SELECT reason, name, _raw FROM quarantine.students ORDER BY 1")
        assert found == [("malformed_record", None, "bad"), ("missing_student_id", "Nobody", None)]


@pytest.mark.parametrize(
    ("limit", "malformed", "total", "refused"),
    [
        (0.2, 1, 5, False),
        (0.2, 20, 100, False),
        (0.2, 21, 100, True),
        (0.2, 2, 9, True),
        (0.2, 1, 1, True),
        (0.29, 29, 100, False),  # 0.29 * 100 is less than 29 in floating point
        (0.29, 30, 100, True),
        (0.0, 0, 1, False),
        (0.0, 1, 1000, True),
        (1.0, 3, 3, False),
    ],
)
def test_the_share_of_malformed_records(
    school: School, limit: float, malformed: int, total: int, refused: bool
) -> None:
    lines = ["bad"] * malformed + [f"{n},x" for n in range(total - malformed)]
    school.deliver("students.csv", "\n".join(["student_id,name", *lines]))
    load(school, limit=limit)
    good = total - malformed
    (entry,) = ledger(school, "status, rows_read, rows_rejected, rows_appended, message")
    if refused:
        share = f"{limit * 100:g}%"
        assert entry == (
            *("refused", good, malformed, 0),
            f"Expected at most {share} malformed records, found {malformed} of {total}. "
            "The first: Line 2: expected 2 fields, found 1.",
        )
        assert school.rows("bronze.students") == []
    else:
        assert entry[:4] == ("loaded", good, malformed, good)
        assert len(quarantined(school)) == malformed


# --- refused files --------------------------------------------------------------------------------


def test_a_refused_file_holds_back_what_is_built_from_it(school: School) -> None:
    school.deliver("students.csv", ROSTER)
    school.deliver("attendance.csv", MARKS)
    school.deliver("assessments.json", SCORES)
    assert school.run().success
    gold = school.rows("gold.student_performance_summary")

    school.deliver("attendance_1.csv", "attend_id,student_id,status\nA8,1,P\n")
    header = "attend_id,student_id,date,status\n"
    school.deliver("attendance_2.csv", f"{header}A9,1,2026-01-06,P\nbad\n")
    more = [f"C{n},1,2026-02-0{n},P" for n in range(1, 5)]
    school.deliver("attendance_3.csv", "\n".join([header + "bad", *more]))
    school.deliver("assessments_2.json", SCORES.replace("T1", "T2"))
    school.deliver("students_2.csv", "student_id,name\n3,Cid\n")
    for _ in range(2):
        result = school.run()
        assert not result.success
        assert failed_checks(result) == {
            "bronze/attendance: files_readable": (
                "2 files were refused. attendance_1.csv: Expected the column date, found only "
                "'attend_id', 'student_id', 'status'. attendance_2.csv: Expected at most 20% "
                "malformed records, found 1 of 2. The first: Line 3: expected 4 fields, found 1. "
                "Mend or remove what was refused; everything else was loaded."
            )
        }
        # Good files of the same source are in bronze, their malformed records in the quarantine.
        assert school.query("SELECT DISTINCT _source_file FROM bronze.attendance ORDER BY 1") == [
            ("attendance.csv",),
            ("attendance_3.csv",),
        ]
        assert school.query("SELECT _source_file, _raw FROM quarantine.attendance") == [
            ("attendance_3.csv", "bad")
        ]
        # What does not come from attendance went on; the rest is as it was.
        assert school.query("SELECT count(*) FROM silver.dim_student") == [(3,)]
        assert school.query("SELECT count(*) FROM silver.fact_assess") == [(2,)]
        assert school.query("SELECT count(*) FROM silver.fact_attend") == [(2,)]
        assert school.rows("gold.student_performance_summary") == gold

    # One is mended, the other removed.
    school.deliver("attendance_1.csv", f"{header}A8,1,2026-01-07,P\n")
    (school.landing / "attendance_2.csv").unlink()
    result = school.run()
    assert result.success, failed_checks(result)
    assert school.query("SELECT count(*) FROM silver.fact_attend") == [(7,)]
    assert school.query("SELECT count(*) FROM gold.student_performance_summary") == [(3,)]


def test_a_version_that_is_refused_leaves_the_one_before(school: School) -> None:
    school.deliver("students.csv", ROSTER)
    load(school)
    school.deliver("students.csv", "student,name\n1,Zoe\n")
    assert load(school)["files_refused"] == 1
    assert names(school) == {"1": "Ann", "2": "Bob"}
    # Back to the version that is loaded: nothing to do, and nothing to complain about.
    school.deliver("students.csv", ROSTER)
    counts = load(school)
    assert (counts["files_loaded"], counts["files_refused"]) == (0, 0)


# --- files that change while they are read --------------------------------------------------------


def interfere(patch: pytest.MonkeyPatch, path: Path, change: Callable[[], object]) -> None:
    """Let something happen to a file once, after it was hashed and before it is read."""
    real = staging.survey
    changed: list[Path] = []

    def survey(read: Path) -> TextSurvey:
        if read.name == path.name and not changed:
            changed.append(path)
            change()
        return real(read)

    patch.setattr(staging, "survey", survey)


def _grow(path: Path) -> None:
    with path.open("a") as file:
        file.write("3,Cid\n")


def _replace(path: Path) -> None:
    """Another file of the same size and time takes its place."""
    status = path.stat()
    twin = path.with_name("twin")
    twin.write_text(path.read_text().replace("Bob", "Cid"))
    os.utime(twin, ns=(status.st_atime_ns, status.st_mtime_ns))
    twin.replace(path)


def _rewrite(path: Path) -> None:
    """It is written anew in place, to the same size and with its old time."""
    status = path.stat()
    path.write_text(path.read_text().replace("Bob", "Cid"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _cut(path: Path) -> None:
    path.write_text("")


CHANGES = [_grow, _replace, _rewrite, _cut, Path.unlink]


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_kept_of_a_file_that_changes_while_it_is_read(
    school: School, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    school.deliver("students_1.csv", "student_id,name\n9,Zoe\n")
    path = school.deliver("students_2.csv", ROSTER)
    interfere(monkeypatch, path, lambda: change(path))
    with pytest.raises(dg.Failure) as caught:
        load(school)
    verb = "vanished" if change is Path.unlink else "changed"
    assert caught.value.description == (
        f"The file students_2.csv {verb} while it was read. "
        "Nothing was loaded; the next try reads it anew."
    )
    assert caught.value.allow_retries
    expected = {"9": "Zoe"}
    if change is not _cut:
        expected |= {
            _grow: {"1": "Ann", "2": "Bob", "3": "Cid"},
            _replace: {"1": "Ann", "2": "Cid"},
            _rewrite: {"1": "Ann", "2": "Cid"},
        }.get(change, {})
    load(school)
    assert names(school) == expected


def test_a_file_that_vanishes_between_finding_and_reading(school: School) -> None:
    school.deliver("students_1.csv", ROSTER)
    gone = school.deliver("students_2.csv", ROSTER)
    with pytest.raises(dg.Failure, match=r"The file students_2\.csv vanished while it was read\."):
        load(school, found=gone.unlink)
    load(school)
    assert ledger(school) == [("students_1.csv", "loaded", 2)]


@pytest.mark.parametrize("change", [_grow, Path.unlink])
def test_a_run_that_meets_a_changing_file_tries_again(
    school: School, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    school.deliver("students_1.csv", "student_id,name\n9,Zoe\n")
    path = school.deliver("students_2.csv", ROSTER)
    interfere(monkeypatch, path, lambda: change(path))
    result = school.run()
    assert result.success, failed_checks(result)
    assert [event.step_key for event in result.all_events if event.is_step_up_for_retry] == [
        "bronze_students"
    ]
    grown = {"1": "Ann", "2": "Bob", "3": "Cid"} if change is _grow else {}
    assert names(school) == grown | {"9": "Zoe"}
    assert school.query("SELECT count(*), max(_load_id) FROM ops.source_files") == [
        (2, 2) if change is _grow else (1, 1)
    ]


# --- files that were loaded before ----------------------------------------------------------------


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the files that are read from now on."""
    paths: list[str] = []
    take = snapshot.take

    def noted(file: discovery.FoundFile, spool: Path, limits: Limits) -> snapshot.Snapshot:
        paths.append(file.path)
        return take(file, spool, limits)

    monkeypatch.setattr(snapshot, "take", noted)
    return paths


def test_a_file_that_lies_there_unchanged_is_not_read_again(
    school: School, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "SETTLED_SECONDS", 0)
    school.deliver("students.csv", ROSTER)
    school.deliver("students_2.csv", "student_id,name\n3,Cid\n")
    load(school)
    assert hashed == ["students.csv", "students_2.csv"]
    assert load(school)["files_loaded"] == 0
    assert hashed == ["students.csv", "students_2.csv"]


def test_a_file_that_changed_a_moment_before_it_was_loaded_is_read_once_more(
    school: School, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have changed again within the same tick of the clock; then it lies there."""
    school.deliver("students.csv", ROSTER)
    load(school)
    monkeypatch.setattr(snapshot, "SETTLED_SECONDS", 0)
    for _ in range(2):
        load(school)
    assert hashed == ["students.csv"] * 2


def test_a_change_that_hides_behind_size_and_time_is_noticed(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "SETTLED_SECONDS", 0)
    path = school.deliver("students.csv", ROSTER)
    before = path.stat()
    load(school)
    school.deliver("students.csv", ROSTER.replace("Bob", "Bea"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert load(school)["files_loaded"] == 1
    assert names(school)["2"] == "Bea"
