"""How rows get written: what is added, what is replaced, and that nothing is ever half done."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from student_pipeline import tables
from student_pipeline.tables import Column, Table
from student_pipeline.warehouse import merge, state, strategies
from student_pipeline.warehouse.connection import Warehouse, connect
from student_pipeline.warehouse.strategies import SchemaMismatch, Written
from student_pipeline_tests.pipeline import School, failed_checks

ATTENDANCE = tables.BRONZE_ATTENDANCE
STUDENTS = tables.BRONZE_STUDENTS


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty warehouse."""
    with connect(tmp_path / "warehouse.duckdb") as connection:
        yield connection


def values(table: Table, rows: list[dict[str, Any]]) -> str:
    """A SELECT of rows, with the table's columns; what a row leaves out is null."""
    selects = [
        "SELECT "
        + ", ".join(
            f"CAST({_literal(row.get(column.name))} AS {column.type}) AS {column.name}"
            for column in table.columns
        )
        for row in rows or [{}]
    ]
    text = " UNION ALL ".join(selects)
    return text if rows else f"SELECT * FROM ({text}) AS nothing WHERE false"


def _literal(value: object) -> str:
    return "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"


def stored(
    connection: duckdb.DuckDBPyConnection, table: Table, *columns: str
) -> list[tuple[Any, ...]]:
    """The stored rows; sorted here, unless the table itself promises an order."""
    order = "" if table.order_by else " ORDER BY ALL"
    select = f"SELECT {', '.join(columns)} FROM {table.full_name}{order}"
    return connection.execute(select).fetchall()


class Loads:
    """Loads files of (column -> value) rows one after another, as `ingest` does."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, table: Table) -> None:
        self.connection, self.table, self.number = connection, table, 0

    def load(self, *rows: dict[str, Any]) -> Written:
        self.number += 1
        lineage = {
            "_ingested_at": f"2026-01-{self.number:02} 06:00:00+00",
            "_source_file": f"file_{self.number}.csv",
            "_load_id": self.number,
        }
        numbered = [
            {"_source_row": number, **lineage, **row} for number, row in enumerate(rows, start=1)
        ]
        return strategies.write(self.connection, self.table, values(self.table, numbered))


# --- append ---------------------------------------------------------------------------------------


def record(id: str | None, status: str | None = "P", **more: Any) -> dict[str, Any]:
    return {"attend_id": id, "student_id": "S1", "date": "2026-01-05", "status": status, **more}


def test_append_keeps_identical_rows_once_within_a_load(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    loads = Loads(warehouse, ATTENDANCE)
    written = loads.load(record("1"), record("2"), record("1"), record("1"), record("2", "A"))
    assert written == Written(added=3)
    assert stored(warehouse, ATTENDANCE, "attend_id", "status", "_source_row") == [
        ("1", "P", 1),
        ("2", "A", 5),
        ("2", "P", 2),
    ]


def test_append_adds_only_what_is_new_in_a_later_load(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    loads = Loads(warehouse, ATTENDANCE)
    loads.load(record("1"), record("2"))
    before = stored(warehouse, ATTENDANCE, "*")
    assert loads.load(record("2"), record("1")) == Written(added=0)
    assert stored(warehouse, ATTENDANCE, "*") == before
    assert loads.load(record("1", "A"), record("2"), record("3")) == Written(added=2)
    assert set(before) < set(stored(warehouse, ATTENDANCE, "*"))
    assert stored(warehouse, ATTENDANCE, "attend_id", "status", "_load_id", "_source_row") == [
        ("1", "A", 3, 1),
        ("1", "P", 1, 1),
        ("2", "P", 1, 2),
        ("3", "P", 3, 3),
    ]
    # A row that was corrected and comes back as it was first is there already.
    assert loads.load(record("1")) == Written(added=0)


@pytest.mark.parametrize("within", [True, False], ids=["within a load", "across loads"])
@pytest.mark.parametrize("column", ["attend_id", "student_id", "status", "created_at", "_extra"])
def test_append_takes_null_for_equal_to_null_and_to_nothing_else(
    warehouse: duckdb.DuckDBPyConnection, column: str, within: bool
) -> None:
    loads = Loads(warehouse, ATTENDANCE)
    filled = record("1", created_at="2026-01-05", _extra='{"room": "1"}')
    empty = {**filled, column: None}
    if within:
        loads.load(empty, filled, empty, filled)
    else:
        for row in (empty, filled, empty, filled):
            loads.load(row)
    assert [value is None for (value,) in stored(warehouse, ATTENDANCE, column)] == [False, True]


def test_append_tells_rows_apart_by_what_the_file_held_alone(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    loads = Loads(warehouse, ATTENDANCE)
    loads.load(record("1"))
    for column in ("attend_id", "student_id", "date", "status", "created_at"):
        assert loads.load({**record("1"), column: "else"}) == Written(added=1), column
    assert loads.load(record("1", _extra='{"room": "1"}')) == Written(added=1)
    assert loads.load(record("1", _extra='{"room": "2"}')) == Written(added=1)
    # Blanks and case are part of what the file held.
    assert loads.load(record(" 1"), record("1", "p")) == Written(added=2)
    # Where and when it was read is not.
    assert loads.load({**record("1"), "_source_row": 99}) == Written(added=0)


def test_append_compares_rows_themselves_where_their_hashes_are_equal(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    names = [name for name in ATTENDANCE.column_names if name == "_extra" or name[0] != "_"]
    parameters = ", ".join(f"p{number}" for number in range(len(names)))
    warehouse.execute(f"CREATE TEMP MACRO hash({parameters}) AS 42")
    probe = ", ".join(map(str, range(len(names))))
    assert warehouse.execute(f"SELECT hash({probe})").fetchall() == [(42,)]
    loads = Loads(warehouse, ATTENDANCE)
    assert loads.load(record("1"), record("2"), record("1"), record("1", "A")).added == 3
    assert loads.load(record("3"), record("2"), record("3")).added == 1
    assert stored(warehouse, ATTENDANCE, "attend_id", "status") == [
        ("1", "A"),
        ("1", "P"),
        ("2", "P"),
        ("3", "P"),
    ]


@pytest.mark.parametrize("made", ["DATE '2026-01-05'", "TIMESTAMP '2026-01-05 08:00'", "20260105"])
def test_append_finds_the_text_of_a_value_of_another_type(
    warehouse: duckdb.DuckDBPyConnection, made: str
) -> None:
    row = values(ATTENDANCE, [{"attend_id": "1", "_source_row": 1}])
    typed = f"SELECT * REPLACE ({made} AS created_at) FROM ({row})"
    assert strategies.write(warehouse, ATTENDANCE, typed) == Written(added=1)
    assert strategies.write(warehouse, ATTENDANCE, typed) == Written(added=0)


def test_append_looks_at_all_rows_where_too_many_months_come(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    loads = Loads(warehouse, ATTENDANCE)
    rows = [{"attend_id": "1", "created_at": f"{2000 + year}-01-01"} for year in range(25)]
    assert loads.load(*rows) == Written(added=25)
    assert loads.load(*rows, {"attend_id": "2"}) == Written(added=1)


@pytest.mark.parametrize("seed", range(5))
def test_append_is_what_a_set_of_rows_would_be(
    warehouse: duckdb.DuckDBPyConnection, seed: int
) -> None:
    pick = random.Random(seed)
    loads = Loads(warehouse, ATTENDANCE)
    expected: dict[tuple[Any, ...], tuple[int, int]] = {}
    moments = ["2025-12-31T08:00:00Z", "2026-01-01", "2026-01-02", "1/2/2026", None]
    for load in range(1, 11):
        in_this_load = pick.sample(moments, pick.randrange(1, 6))
        rows = [
            {
                "attend_id": pick.choice(["1", "2", None]),
                "status": pick.choice(["P", "p", None]),
                "created_at": pick.choice(in_this_load),
                "_extra": pick.choice(['{"a": 1}', None]),
            }
            for _ in range(pick.randrange(8))
        ]
        new = len(expected)
        for number, row in enumerate(rows, start=1):
            expected.setdefault(tuple(row.values()), (load, number))
        assert loads.load(*rows).added == len(expected) - new, f"seed {seed}, load {load}"
    found = stored(
        warehouse,
        ATTENDANCE,
        *("attend_id", "status", "created_at", "_extra", "_load_id", "_source_row"),
    )
    assert {row[:4]: row[4:] for row in found} == expected, f"seed {seed}"
    assert len(found) == len(expected), f"seed {seed}"


# --- upsert ---------------------------------------------------------------------------------------


def student(id: str | None, class_id: str = "5A", at: str | None = None) -> dict[str, Any]:
    return {"student_id": id, "class_id": class_id, "updated_at": at}


@pytest.mark.parametrize(
    ("stored_at", "incoming_at", "replaced"),
    [
        ("2026-01-02", "2026-01-03", True),
        ("2026-01-02", "2026-01-01", False),
        ("2026-01-02", "2026-01-02", True),
        ("2026-01-02T10:00:00Z", "2026-01-02T10:30:00+01:00", False),  # earlier in UTC
        ("2026-01-02T10:00:00Z", "2026-01-02T09:30:00-01:00", True),
        (None, "2026-01-01", True),
        ("2026-01-02", None, True),
        ("2026-01-02", " n/a ", True),
        ("2026-01-02", "yesterday", True),
        ("tomorrow", "2026-01-01", True),
        (None, None, True),
    ],
)
def test_upsert_replaces_the_stored_row_unless_the_incoming_one_is_older(
    warehouse: duckdb.DuckDBPyConnection,
    stored_at: str | None,
    incoming_at: str | None,
    replaced: bool,
) -> None:
    loads = Loads(warehouse, STUDENTS)
    assert loads.load(student("S1", "5A", stored_at)) == Written(added=1, removed=0)
    written = loads.load(student("S1", "5B", incoming_at))
    assert written == (Written(added=1, removed=1) if replaced else Written(added=0, removed=0))
    assert stored(warehouse, STUDENTS, "class_id", "_load_id") == (
        [("5B", 2)] if replaced else [("5A", 1)]
    )


@pytest.mark.parametrize(
    ("versions", "kept"),
    [
        (["2026-01-02", "2026-01-03", "2026-01-01"], 2),
        (["2026-01-02", None, "2026-01-01"], 1),
        ([None, None, "yesterday"], 3),
        (["2026-01-02", "2026-01-02T00:00:00Z", None], 2),
    ],
)
def test_upsert_takes_the_latest_row_of_an_id_that_stands_twice_in_a_file(
    warehouse: duckdb.DuckDBPyConnection, versions: list[str | None], kept: int
) -> None:
    rows = [student("S1", f"row {number}", at) for number, at in enumerate(versions, start=1)]
    loads = Loads(warehouse, STUDENTS)
    assert loads.load(*rows).added == 1
    assert stored(warehouse, STUDENTS, "class_id", "_source_row") == [(f"row {kept}", kept)]


def test_upsert_compares_the_latest_row_of_a_file_with_the_stored_one(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    loads = Loads(warehouse, STUDENTS)
    loads.load(student("S1", "5A", "2026-01-05"))
    assert loads.load(
        student("S1", "5B", "2026-01-04"), student("S1", "5C", None), student("S1", "5D", "2025")
    ) == Written(added=0, removed=0)
    assert stored(warehouse, STUDENTS, "class_id") == [("5A",)]


def test_upsert_finds_the_student_by_the_trimmed_id(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    loads = Loads(warehouse, STUDENTS)
    loads.load(student("S1"), student("s1"), student("01"), student("1"))
    loads.load(student(" S1\u00a0", "5B"), student("\u200b1", "5C"))
    assert sorted(stored(warehouse, STUDENTS, "student_id", "class_id")) == sorted(
        [(" S1\u00a0", "5B"), ("s1", "5A"), ("01", "5A"), ("\u200b1", "5C")]
    )


def test_upsert_changes_nothing_for_an_identical_row_and_nobody_who_is_missing(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    loads = Loads(warehouse, STUDENTS)
    loads.load(student("S1", at="2026-01-01"), student("S2"), student("S3"))
    before = sorted(stored(warehouse, STUDENTS, "*"))
    assert loads.load(student("S1", at="2026-01-01"), student("S2")) == Written(0, 0)
    assert sorted(stored(warehouse, STUDENTS, "*")) == before  # not even _ingested_at
    assert loads.load(student("S2", "5B")) == Written(added=1, removed=1)
    assert sorted(stored(warehouse, STUDENTS, "student_id", "class_id", "_load_id")) == [
        ("S1", "5A", 1),
        ("S2", "5B", 3),
        ("S3", "5A", 1),
    ]


def test_upsert_keeps_rows_without_an_id_identical_ones_once(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    loads = Loads(warehouse, STUDENTS)
    assert loads.load(
        student(None, "5A"), student("N/A", "5A"), student(None, "5A"), student("-", "5B")
    ) == Written(added=3, removed=0)
    assert loads.load(
        student(None, "5A"), student(None, "5C"), student("S1"), student("-", "5B")
    ) == Written(added=2, removed=0)
    found = stored(warehouse, STUDENTS, "student_id", "class_id")
    assert sorted(found, key=str) == sorted(
        [(None, "5A"), ("N/A", "5A"), ("-", "5B"), (None, "5C"), ("S1", "5A")], key=str
    )


@pytest.mark.parametrize("seed", range(5))
def test_upsert_is_what_a_dict_of_students_would_be(
    warehouse: duckdb.DuckDBPyConnection, seed: int
) -> None:
    pick = random.Random(seed)
    loads = Loads(warehouse, STUDENTS)
    expected: dict[Any, tuple[Any, ...]] = {}
    for load in range(1, 11):
        rows = [
            (
                pick.choice(["A", "A ", "\u00a0A", "B", "C", None, "N/A"]),
                pick.choice("xy"),
                pick.choice(["2026-01-01", "2026-01-02", "soon", None]),
            )
            for _ in range(pick.randrange(7))
        ]
        loads.load(*(student(*row) for row in rows))
        for number, row in enumerate(rows, start=1):
            if row[0] in (None, "N/A"):
                expected.setdefault(row, (*row, load, number))
        for id in "ABC":
            versions = [
                (at if at and at != "soon" else "", number)
                for number, (key, _, at) in enumerate(rows, start=1)
                if key and key.strip() == id
            ]
            if not versions:
                continue
            at, number = max(versions)
            row, old = rows[number - 1], expected.get(id, (None, None, None))
            older = at and old[2] not in (None, "soon") and at < old[2]
            if not older and row != old[:3]:
                expected[id] = (*row, load, number)
    found = stored(
        warehouse, STUDENTS, "student_id", "class_id", "updated_at", "_load_id", "_source_row"
    )
    assert sorted(found, key=str) == sorted(expected.values(), key=str), f"seed {seed}"


# --- replace --------------------------------------------------------------------------------------

SORTED = Table(
    schema="gold",
    name="sorted",
    description="For these tests.",
    columns=(Column("name", "VARCHAR", "Name"), Column("number", "BIGINT", "Number")),
    strategy="replace",
    order_by=("name", "number"),
)


def test_replace_holds_what_came_last_in_the_declared_order(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    shuffled = (
        "SELECT 5000 - i AS number, CASE WHEN i % 2 = 0 THEN 'b' ELSE 'a' END AS name "
        "FROM range(5000) AS r (i)"
    )
    assert strategies.write(warehouse, SORTED, shuffled) == Written(added=5000, removed=0)
    found = stored(warehouse, SORTED, "*")
    assert found == sorted(found)
    assert found[0] == ("a", 1)
    assert strategies.write(
        warehouse, SORTED, "SELECT 'z' AS name, 1 AS number UNION ALL SELECT 'y', 2"
    ) == Written(added=2, removed=5000)
    assert stored(warehouse, SORTED, "*") == [("y", 2), ("z", 1)]
    assert strategies.write(
        warehouse, SORTED, "SELECT '' AS name, 0 AS number WHERE false"
    ) == Written(added=0, removed=2)
    assert stored(warehouse, SORTED, "*") == []


# --- judged rows ----------------------------------------------------------------------------------

ROSTER = (
    "student_id,name,class_id,grade,status\nS1,A,5A,5,active\nS2,B,5B,5,active\n,C,5C,5,active\n"
)


def reasons(school: School, source: str) -> list[tuple[str, str]]:
    return school.query(
        f"SELECT coalesce({'student_id' if source == 'students' else 'attend_id'}, _raw), reason "
        f"FROM quarantine.{source} ORDER BY ALL"
    )


def test_judged_rows_go_to_the_table_or_to_its_quarantine(school: School) -> None:
    school.rules = {"malformed_share_limit": 0.9}
    school.deliver("students.csv", ROSTER)
    header = "attend_id,student_id,date,status\n"
    school.deliver(
        "attendance.csv",
        f"{header}A1,S1,2026-06-29,P\nA2,S9,2026-06-29,P\nA3,S2,2026-06-29,?\nbroken\n",
    )
    assert school.run().success
    assert school.query("SELECT student_id FROM silver.dim_student ORDER BY 1") == [
        ("S1",),
        ("S2",),
    ]
    assert school.query("SELECT reason, class_id FROM quarantine.students") == [
        ("missing_student_id", "5C")
    ]
    assert school.query("SELECT attend_id FROM silver.fact_attend") == [("A1",)]
    assert reasons(school, "attendance") == [
        ("A2", "unknown_student"),
        ("A3", "unknown_status"),
        ("broken", "malformed_record"),
    ]
    (row,) = (row for row in school.rows("quarantine.attendance") if row["attend_id"] == "A2")
    assert (row["student_id"], row["date"], row["status"]) == ("S9", "2026-06-29", "P")
    assert (row["_source_file"], row["_source_row"], row["_raw"]) == ("attendance.csv", 2, None)
    assert "S9" in row["detail"]

    # Nothing new arrives: everything stays, the malformed record of the loaded version included.
    before = school.rows("quarantine.attendance")
    for full_refresh in (False, True):
        assert school.run(full_refresh=full_refresh).success
        assert sorted(map(str, school.rows("quarantine.attendance"))) == sorted(map(str, before))

    # What is mended leaves, what is refused for another reason says so, what is broken stays.
    school.deliver("students_2.csv", "student_id,name\nS9,D\n")
    school.deliver("attendance_2.csv", f"{header}A3,S2,2026-02-30,P\n")
    assert school.run().success
    assert school.query("SELECT attend_id FROM silver.fact_attend ORDER BY 1") == [("A1",), ("A2",)]
    assert reasons(school, "attendance") == [("A3", "invalid_date"), ("broken", "malformed_record")]

    # A new version of the file without the broken record takes it along.
    school.deliver("attendance.csv", f"{header}A1,S1,2026-06-29,P\n")
    assert school.run().success
    assert reasons(school, "attendance") == [("A3", "invalid_date")]


def test_a_table_and_its_quarantine_change_together_or_not_at_all(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    school.deliver("students.csv", ROSTER)
    assert school.run().success
    before = [school.rows(name) for name in ("silver.dim_student", "quarantine.students")]
    school.deliver("students_2.csv", "student_id,name,class_id\nS3,D,5D\n,E,5E\n")
    written = merge.bring_up_to_date

    def fail_afterwards(
        connection: duckdb.DuckDBPyConnection, table: Table, *more: Any, **named: Any
    ) -> merge.Outcome:
        outcome = written(connection, table, *more, **named)
        if table is tables.DIM_STUDENT:
            raise RuntimeError("power failure")
        return outcome

    monkeypatch.setattr(merge, "bring_up_to_date", fail_afterwards)
    assert not school.run().success
    assert [school.rows(name) for name in ("silver.dim_student", "quarantine.students")] == before
    monkeypatch.undo()
    result = school.run()
    assert result.success, failed_checks(result)
    assert len(school.rows("silver.dim_student")) == 3
    assert len(school.rows("quarantine.students")) == 2


# --- declarations that change ---------------------------------------------------------------------

FIRST = Table(
    schema="bronze",
    name="changing",
    description="For these tests.",
    columns=(
        Column("id", "VARCHAR", "Id"),
        Column("points", "BIGINT", "Points"),
        Column("_extra", "JSON", "More"),
        Column("_source_row", "BIGINT", "Row"),
    ),
    strategy="append",
)


@pytest.fixture
def filled(warehouse: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A warehouse with two rows in `FIRST`."""
    rows = [{"id": "1", "points": 10, "_source_row": 1}, {"id": "2", "_source_row": 2}]
    strategies.write(warehouse, FIRST, values(FIRST, rows))
    return warehouse


def columns_of(connection: duckdb.DuckDBPyConnection, table: Table) -> list[tuple[str, str]]:
    return connection.execute(
        f"SELECT column_name, column_type FROM (DESCRIBE {table.full_name})"
    ).fetchall()


def test_a_table_that_is_missing_is_created_as_declared(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    strategies.ensure_table(warehouse, FIRST)
    assert columns_of(warehouse, FIRST) == [
        ("id", "VARCHAR"),
        ("points", "BIGINT"),
        ("_extra", "JSON"),
        ("_source_row", "BIGINT"),
    ]
    assert stored(warehouse, FIRST, "*") == []


def test_rows_are_carried_over_when_a_column_comes(filled: duckdb.DuckDBPyConnection) -> None:
    note = Column("note", "VARCHAR", "Note")
    wider = replace(FIRST, columns=(FIRST.columns[0], note, *FIRST.columns[1:]))
    strategies.ensure_table(filled, wider)
    assert stored(filled, wider, "*") == [("1", None, 10, None, 1), ("2", None, None, None, 2)]
    added = strategies.write(
        filled, wider, values(wider, [{"id": "1", "note": "new", "points": 10, "_source_row": 1}])
    )
    assert added == Written(added=1)


def test_rows_are_carried_over_when_a_column_goes(filled: duckdb.DuckDBPyConnection) -> None:
    narrower = replace(FIRST, columns=(FIRST.columns[0], *FIRST.columns[2:]))
    added = strategies.write(filled, narrower, values(narrower, [{"id": "3", "_source_row": 1}]))
    assert added == Written(added=1)
    assert stored(filled, narrower, "*") == [("1", None, 1), ("2", None, 2), ("3", None, 1)]


def test_rows_are_carried_over_when_order_and_types_change(
    filled: duckdb.DuckDBPyConnection,
) -> None:
    id, _, *others = FIRST.columns
    changed = replace(FIRST, columns=(Column("points", "VARCHAR", "Points"), id, *others))
    strategies.ensure_table(filled, changed)
    assert stored(filled, changed, "*") == [("10", "1", None, 1), (None, "2", None, 2)]
    assert columns_of(filled, changed)[0] == ("points", "VARCHAR")


def test_a_table_as_declared_is_left_alone(filled: duckdb.DuckDBPyConnection) -> None:
    oid = "SELECT table_oid FROM duckdb_tables() WHERE table_name = 'changing'"
    before = filled.execute(oid).fetchall()
    strategies.ensure_table(filled, FIRST)
    assert filled.execute(oid).fetchall() == before


def test_rows_that_do_not_fit_the_new_type_keep_the_table_as_it_was(tmp_path: Path) -> None:
    warehouse = Warehouse(database=str(tmp_path / "warehouse.duckdb"))
    with warehouse.transaction() as connection:
        strategies.write(connection, FIRST, values(FIRST, [{"id": "one", "_source_row": 1}]))
    numeric = replace(FIRST, columns=(Column("id", "BIGINT", "Id"), *FIRST.columns[1:]))
    with pytest.raises(duckdb.ConversionException), warehouse.transaction() as connection:
        strategies.ensure_table(connection, numeric)
    with warehouse.transaction() as connection:
        assert stored(connection, FIRST, "*") == [("one", None, None, 1)]
        strategies.ensure_table(connection, FIRST)  # nothing of the attempt is in the way
        assert stored(connection, FIRST, "*") == [("one", None, None, 1)]
    warehouse.close()


def test_a_bronze_table_of_an_older_release_is_carried_over_by_the_next_run(
    school: School,
) -> None:
    school.deliver("students.csv", ROSTER)
    school.deliver("attendance.csv", "attend_id,student_id,date,status\nA1,S1,2026-06-29,P\n")
    assert school.run().success
    before = school.rows("bronze.attendance")
    school.write(
        "ALTER TABLE bronze.attendance DROP COLUMN created_at",
        "ALTER TABLE bronze.attendance ADD COLUMN room VARCHAR",
        "ALTER TABLE gold.class_daily_performance ADD COLUMN mood VARCHAR",
    )
    school.deliver("attendance_2.csv", "attend_id,student_id,date,status\nA2,S1,2026-06-30,P\n")
    result = school.run()
    assert result.success, failed_checks(result)
    assert school.rows("bronze.attendance")[:1] == before
    assert len(school.rows("bronze.attendance")) == 2
    assert "mood" not in school.rows("gold.class_daily_performance")[0]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("incoming", "problem"),
    [
        ("SELECT 'a' AS name", "missing: number"),
        ("SELECT 'a' AS name, 1 AS number, 2 AS b, 3 AS a", "unexpected: b, a"),
        ("SELECT 'a' AS nmae, 1 AS number", "unexpected: nmae; missing: name"),
        ("SELECT 1 AS one", "unexpected: one; missing: name, number"),
    ],
)
def test_other_columns_than_declared_are_refused_in_a_sentence(
    warehouse: duckdb.DuckDBPyConnection, incoming: str, problem: str
) -> None:
    strategies.write(warehouse, SORTED, "SELECT 'a' AS name, 1 AS number")
    with pytest.raises(SchemaMismatch) as refused:
        strategies.write(warehouse, SORTED, incoming)
    assert str(refused.value) == (
        f"The columns for gold.sorted differ from its declaration ({problem}). Nothing was written."
    )
    assert stored(warehouse, SORTED, "*") == [("a", 1)]


@pytest.mark.parametrize("table", [ATTENDANCE, STUDENTS], ids=["append", "upsert"])
def test_appends_and_upserts_refuse_other_columns_too(
    warehouse: duckdb.DuckDBPyConnection, table: Table
) -> None:
    with pytest.raises(SchemaMismatch, match="missing: _load_id"):
        strategies.write(warehouse, table, f"SELECT * EXCLUDE _load_id FROM ({values(table, [])})")


def test_judged_rows_need_their_reason(warehouse: duckdb.DuckDBPyConnection) -> None:
    accepted = values(tables.DIM_STUDENT, [{"student_id": "S1"}])
    with pytest.raises(SchemaMismatch, match=r"missing: .*reason"):
        strategies.write(warehouse, tables.DIM_STUDENT, accepted)


# --- transactions ---------------------------------------------------------------------------------


def test_a_transaction_keeps_all_of_it_or_nothing(tmp_path: Path) -> None:
    warehouse = Warehouse(database=str(tmp_path / "warehouse.duckdb"))

    def stopped() -> None:
        with warehouse.transaction() as connection:
            Loads(connection, STUDENTS).load(student("S1", "5B"), student("S3"))
            state.record(connection, STUDENTS, "run 2")
            assert len(stored(connection, STUDENTS, "*")) == 3
            strategies.write(connection, SORTED, "SELECT 'a' AS name, 1 AS number")
            raise RuntimeError("stop")

    def broken() -> None:
        with warehouse.transaction() as connection:
            Loads(connection, STUDENTS).load(student("S4"))
            strategies.write(connection, SORTED, "SELECT 'a' AS name, 'many' AS number")

    with warehouse.transaction() as connection:
        Loads(connection, STUDENTS).load(student("S1"), student("S2"))
        state.record(connection, STUDENTS, "run 1")
    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    with pytest.raises(duckdb.ConversionException):
        broken()
    warehouse.close()  # what is on the disk counts
    with warehouse.transaction() as connection:
        found = stored(connection, STUDENTS, "student_id", "class_id")
        assert sorted(found) == [("S1", "5A"), ("S2", "5A")]
        assert stored(connection, tables.TABLE_STATE, "row_count", "run_id") == [(2, "run 1")]
        assert strategies.stored_columns(connection, SORTED) == []
        # Whatever the broken writes left behind is in nobody's way.
        assert Loads(connection, STUDENTS).load(student("S3")) == Written(added=1, removed=0)
    warehouse.close()


def test_the_state_of_a_table_remembers_what_was_before(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    def books() -> list[tuple[Any, ...]]:
        return stored(
            warehouse,
            tables.TABLE_STATE,
            *("table_name", "row_count", "previous_row_count", "ever_had_rows", "run_id"),
        )

    nothing = "SELECT '' AS name, 0 AS number WHERE false"
    strategies.write(warehouse, SORTED, nothing)
    assert state.record(warehouse, SORTED, "1") == 0
    assert books() == [("gold.sorted", 0, None, False, "1")]
    strategies.write(warehouse, SORTED, "SELECT 'a' AS name, 1 AS number")
    assert state.record(warehouse, SORTED, "2") == 1
    assert books() == [("gold.sorted", 1, 0, True, "2")]
    strategies.write(warehouse, SORTED, nothing)
    state.record(warehouse, SORTED, "3")
    assert books() == [("gold.sorted", 0, 1, True, "3")]
    state.record(warehouse, SORTED, "4")
    assert books() == [("gold.sorted", 0, 0, True, "4")]
