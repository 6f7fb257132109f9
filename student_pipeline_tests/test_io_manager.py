"""What assets return becomes tables, whole or not at all; the stock manager shows why not it."""

import datetime as dt
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest
from dagster_duckdb_pandas import DuckDBPandasIOManager

from student_pipeline import tables
from student_pipeline.assets.table_asset import table_asset
from student_pipeline.definitions import defs
from student_pipeline.jobs import JOB_NAME
from student_pipeline.tables import Column, Table
from student_pipeline.warehouse import connection as connection_module
from student_pipeline.warehouse.connection import Warehouse
from student_pipeline.warehouse.io_manager import WarehouseIOManager
from student_pipeline.warehouse.strategies import Written
from student_pipeline.warehouse.values import Relation, Select
from student_pipeline_tests.pipeline import School, errors

MARKS = Table(
    schema="gold",
    name="marks",
    description="One row per student, for these tests.",
    columns=(
        Column("student_id", "VARCHAR", "The student", required=True),
        Column("class_id", "VARCHAR", "The class"),
        Column("points", "BIGINT", "Points"),
        Column("share", "DOUBLE", "Share of the points"),
        Column("passed", "BOOLEAN", "Passed"),
        Column("day", "DATE", "The day"),
        Column("seen_at", "TIMESTAMPTZ", "The instant"),
    ),
    strategy="replace",
    key=("student_id",),
    order_by=("student_id",),
)
COPY = replace(MARKS, schema="silver", name="copied_marks")
SMALL = replace(MARKS, name="small", columns=MARKS.columns[:3])

_LINEAGE = (
    Column("_extra", "JSON", "More columns"),
    Column("_source_row", "BIGINT", "Number of the row"),
)
LOG = Table(
    schema="bronze",
    name="log",
    description="Rows that are only ever added.",
    columns=(Column("id", "VARCHAR", "Id"), Column("what", "VARCHAR", "What"), *_LINEAGE),
    strategy="append",
)
ROSTER = Table(
    schema="bronze",
    name="roster",
    description="One row per student.",
    columns=(
        Column("student_id", "VARCHAR", "The student"),
        Column("class_id", "VARCHAR", "The class"),
        Column("updated_at", "VARCHAR", "When"),
        *_LINEAGE,
    ),
    strategy="upsert",
)

OLD = [("S1", "5A", 1), ("S2", "5B", 2)]


class Store:
    """A warehouse of its own, and assets that get materialized into it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "warehouse.duckdb"
        self.instance = dg.DagsterInstance.ephemeral()

    def materialize(
        self, *assets: dg.AssetsDefinition, stock: bool = False, **warehouse: Any
    ) -> dg.ExecuteInProcessResult:
        made = {key for asset in assets for key in asset.keys}
        named = {key for asset in assets for key in asset.dependency_keys}
        stored = [
            dg.AssetSpec(key).with_io_manager_key("io_manager") for key in sorted(named - made)
        ]
        return dg.materialize(
            [*assets, *stored],
            instance=self.instance,
            resources={"io_manager": self._stock()} if stock else self._ours(**warehouse),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )

    def write(
        self, table: Table, value: object, *, stock: bool = False
    ) -> dg.ExecuteInProcessResult:
        """Materialize one asset that returns `value`."""
        return self.materialize(asset_of(table, lambda: value), stock=stock)

    def rows(self, table: Table | str) -> list[tuple[Any, ...]]:
        name = table if isinstance(table, str) else table.full_name
        return self.query(f"SELECT * FROM {name}")

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        # Read-only beside a connection that stayed open in this process would raise.
        with duckdb.connect(self.path, read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()

    def columns(self, table: Table) -> list[tuple[str, str]]:
        return self.query(f"SELECT column_name, column_type FROM (DESCRIBE {table.full_name})")

    def said(self, result: dg.ExecuteInProcessResult) -> str:
        """Everything that the run put into Dagster's event log."""
        return "\n".join(entry.to_json() for entry in self.instance.all_logs(result.run_id))

    def _ours(self, **settings: Any) -> dict[str, Any]:
        """The resources, wired as in `definitions.py`."""
        warehouse = Warehouse.configure_at_launch(
            database=str(self.path), lock_timeout_seconds=0, **settings
        )
        return {"warehouse": warehouse, "io_manager": WarehouseIOManager(warehouse=warehouse)}

    def _stock(self) -> DuckDBPandasIOManager:
        return DuckDBPandasIOManager(database=str(self.path))


def asset_of(table: Table, make: Callable[[], object]) -> dg.AssetsDefinition:
    @dg.asset(key=dg.AssetKey(table.asset_key))
    def made() -> Any:
        return make()

    return made


def metadata_of(result: dg.ExecuteInProcessResult, table: Table) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node("__".join(table.asset_key))
    return {key: value.value for key, value in event.metadata.items()}


def attempts(result: dg.ExecuteInProcessResult) -> int:
    """How often the one step of the run was started."""
    return sum(
        event.event_type_value in ("STEP_START", "STEP_RESTARTED") for event in result.all_events
    )


def frame(rows: list[tuple[Any, ...]], table: Table = SMALL) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(table.column_names))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty warehouse, with the tables of this module declared."""
    for table in (MARKS, COPY, SMALL, LOG, ROSTER):
        monkeypatch.setitem(tables.TABLES, table.full_name, table)
    return Store(tmp_path)


# --- the defects of the stock manager -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["frame", "select"])
def test_columns_are_stored_by_name_in_whatever_order_they_come(store: Store, kind: str) -> None:
    for points in (1, 2):  # the table is there the second time
        order = ["class_id", "points", "student_id"] if points == 2 else list(SMALL.column_names)
        if kind == "frame":
            value: object = frame([("S1", "5A", points)])[order]
        else:
            value = Select(
                f"SELECT {', '.join(order)} "
                f"FROM (SELECT 'S1' AS student_id, '5A' AS class_id, {points} AS points)"
            )
        assert store.write(SMALL, value).success
        assert store.rows(SMALL) == [("S1", "5A", points)]


def test_the_stock_manager_stores_columns_by_position(store: Store) -> None:
    assert store.write(SMALL, frame([("S1", "5A", 1)]), stock=True).success
    reordered = frame([("S1", "5A", 1)])[["class_id", "student_id", "points"]]
    assert store.write(SMALL, reordered, stock=True).success
    assert store.rows(SMALL) == [("5A", "S1", 1)]


MISFITS: dict[str, tuple[object, str]] = {
    "a column too many in a frame": (
        frame([("S3", "5C", 3)]).assign(note="x", more="y"),
        "The columns for gold.small differ from its declaration (unexpected: note, more). "
        "Nothing was written.",
    ),
    "a column too few in a frame": (
        frame([("S3", "5C", 3)])[["student_id"]],
        "The columns for gold.small differ from its declaration (missing: class_id, points). "
        "Nothing was written.",
    ),
    "another column in a SELECT": (
        Select("SELECT 'S3' AS student_id, '5C' AS class_id, 3 AS mark"),
        "The columns for gold.small differ from its declaration "
        "(unexpected: mark; missing: points). Nothing was written.",
    ),
    "a bad type in a frame": (
        frame([("S3", "5C", "Ada Canary")]),
        "gold.small can't be written and stays as it was. Conversion Error: "
        "Could not convert string '…' to INT64",
    ),
    "a bad type in a SELECT": (
        Select("SELECT 'S3' AS student_id, '5C' AS class_id, 'Ada O''Canary' AS points"),
        "gold.small can't be written and stays as it was. Conversion Error: "
        "Could not convert string '…' to INT64",
    ),
    "a SELECT that fails in its last row": (
        Select(
            "SELECT i::VARCHAR AS student_id, '5C' AS class_id, "
            "CASE WHEN i = 299999 THEN 'Ada Canary' ELSE '1' END AS points "
            "FROM range(300000) AS r (i)"
        ),
        "gold.small can't be written and stays as it was. Conversion Error: "
        "Could not convert string '…' to INT64",
    ),
    "a SELECT of a table that is not there": (
        Select("SELECT * FROM gold.nowhere"),
        "Table with name nowhere does not exist",
    ),
    "a SELECT of a column that is not there": (
        Select("SELECT nothing AS student_id, '5C' AS class_id, 3 AS points"),
        'Referenced column "nothing" was not found',
    ),
    "a SELECT that is none": (Select("SELECT FROM WHERE"), "syntax error"),
    "neither a SELECT nor a frame": (
        [("S3", "5C", 3)],
        "gold.small can be made from a Select, a Feed or a pandas DataFrame, not from list.",
    ),
    "nothing": (
        None,
        "gold.small can be made from a Select, a Feed or a pandas DataFrame, not from NoneType.",
    ),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_what_does_not_fit_is_refused_and_the_table_stays(store: Store, misfit: str) -> None:
    value, sentence = MISFITS[misfit]
    assert store.write(SMALL, frame(OLD)).success
    state = store.rows(tables.TABLE_STATE)
    result = store.write(SMALL, value)
    assert not result.success
    (message,) = errors(result)
    assert sentence in message
    assert "Canary" not in store.said(result)
    assert attempts(result) == 1
    assert store.rows(SMALL) == OLD
    assert store.rows(tables.TABLE_STATE) == state
    assert store.write(SMALL, frame([*OLD, ("S3", "5C", 3)])).success
    assert store.rows(SMALL) == [*OLD, ("S3", "5C", 3)]


@pytest.mark.parametrize("misfit", ["a column too many in a frame", "a bad type in a frame"])
def test_the_stock_manager_empties_the_table_first_and_holds_the_file(
    store: Store, misfit: str
) -> None:
    assert store.write(SMALL, frame(OLD), stock=True).success
    assert not store.write(SMALL, MISFITS[misfit][0], stock=True).success
    with pytest.raises(duckdb.ConnectionException, match="different configuration"):
        store.rows(SMALL)  # its connection is still open
    with duckdb.connect(store.path, config={"custom_user_agent": "dagster"}) as connection:
        assert connection.execute("SELECT count(*) FROM gold.small").fetchall() == [(0,)]


def test_a_failed_first_write_leaves_no_table(store: Store) -> None:
    assert not store.write(SMALL, MISFITS["a bad type in a frame"][0]).success
    assert store.query("SELECT table_name FROM duckdb_tables() WHERE schema_name <> 'ops'") == []


@pytest.mark.parametrize(
    "nothing",
    [
        frame([]),
        Select("SELECT '' AS student_id, '' AS class_id, 0 AS points WHERE false"),
    ],
    ids=["frame", "select"],
)
def test_an_empty_result_makes_an_empty_table_as_declared(store: Store, nothing: object) -> None:
    for _ in range(2):
        result = store.write(SMALL, nothing)
        assert result.success
        assert store.rows(SMALL) == []
        assert store.columns(SMALL) == [
            ("student_id", "VARCHAR"),
            ("class_id", "VARCHAR"),
            ("points", "BIGINT"),
        ]
        assert metadata_of(result, SMALL)["dagster/row_count"] == 0
    assert store.write(SMALL, frame(OLD)).success
    assert store.rows(SMALL) == OLD


def test_the_stock_manager_makes_no_table_of_an_empty_frame(store: Store) -> None:
    store.write(SMALL, pd.DataFrame(), stock=True)
    assert store.query("SELECT * FROM duckdb_tables() WHERE table_name = 'small'") == []


def test_the_key_says_the_schema(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = replace(SMALL, schema="silver")
    monkeypatch.setitem(tables.TABLES, twin.full_name, twin)
    result = store.materialize(
        asset_of(SMALL, lambda: frame(OLD)), asset_of(twin, lambda: frame(OLD[:1]))
    )
    assert result.success
    assert store.rows("gold.small") == OLD
    assert store.rows("silver.small") == OLD[:1]
    assert "schema" not in WarehouseIOManager.model_fields  # nothing could override the key


def test_the_connection_is_free_after_a_run_good_or_bad(store: Store) -> None:
    for value, good in ((frame(OLD), True), (Select("SELECT FROM"), False), (frame(OLD), True)):
        assert store.write(SMALL, value).success is good
        opened = subprocess.run(
            [sys.executable, "-c", f"import duckdb; duckdb.connect({str(store.path)!r})"],
            capture_output=True,
            text=True,
        )
        assert opened.returncode == 0, opened.stderr
        with duckdb.connect(store.path, config={"threads": 1}):  # in this process, too
            pass


def test_an_asset_that_is_not_declared_is_refused(store: Store) -> None:
    result = store.write(replace(SMALL, name="undeclared"), frame(OLD))
    assert not result.success
    assert (
        "gold.undeclared is not declared in tables.py; every stored table is." in errors(result)[0]
    )
    assert attempts(result) == 1
    assert not store.path.exists()


# --- frames ---------------------------------------------------------------------------------------

UTC = dt.timezone.utc
FULL_ROWS: list[tuple[Any, ...]] = [
    ("007", "5A", 2**62, 0.5, True, dt.date(2026, 1, 31), dt.datetime(2026, 1, 31, 8, tzinfo=UTC)),
    ("S2", None, None, None, None, None, None),
    ("Zoë 💡", "", -1, -1e300, False, dt.date(1969, 12, 31), dt.datetime(1970, 1, 1, tzinfo=UTC)),
]


def marks() -> pd.DataFrame:
    """`FULL_ROWS` as people make frames, in another order."""
    made = pd.DataFrame(FULL_ROWS[::-1], columns=list(MARKS.column_names))
    return made.astype({"points": "Int64"})


def test_a_frame_comes_back_as_it_was_stored_with_fitting_types(store: Store) -> None:
    loaded: list[pd.DataFrame] = []

    @dg.asset(
        key=dg.AssetKey(COPY.asset_key), ins={"given": dg.AssetIn(dg.AssetKey(["gold", "marks"]))}
    )
    def copied(given: pd.DataFrame) -> pd.DataFrame:
        loaded.append(given)
        return given

    result = store.materialize(asset_of(MARKS, marks), copied)
    assert result.success, errors(result)
    (given,) = loaded
    assert list(given.columns) == list(MARKS.column_names)
    kinds = pd.api.types
    assert given["student_id"].tolist() == ["007", "S2", "Zoë 💡"]  # sorted as declared
    assert kinds.is_integer_dtype(given["points"])  # not floating because of the null
    assert given["points"].iloc[0] == 2**62
    assert kinds.is_float_dtype(given["share"])
    assert kinds.is_bool_dtype(given["passed"])
    assert kinds.is_datetime64_dtype(given["day"])
    assert str(given["seen_at"].dt.tz) == "UTC"
    assert given["seen_at"].iloc[0] == pd.Timestamp("2026-01-31T08:00Z")
    assert given["class_id"].isna().tolist() == [False, True, False]
    assert store.rows(MARKS) == FULL_ROWS
    assert store.rows(COPY) == FULL_ROWS


def test_an_input_that_asks_for_no_frame_is_a_relation(store: Store) -> None:
    given: list[object] = []

    @dg.asset(
        key=dg.AssetKey(COPY.asset_key), ins={"marks": dg.AssetIn(dg.AssetKey(["gold", "marks"]))}
    )
    def copied(marks: Relation) -> Select:
        given.append(marks)
        return Select(f"SELECT * FROM {marks} WHERE passed")

    assert store.materialize(asset_of(MARKS, marks), copied).success
    assert given == [Relation(MARKS)]
    assert store.rows(COPY) == FULL_ROWS[:1]


def test_loading_a_table_that_is_not_there_says_so(store: Store) -> None:
    @dg.asset(
        key=dg.AssetKey(COPY.asset_key), ins={"given": dg.AssetIn(dg.AssetKey(["gold", "marks"]))}
    )
    def copied(given: pd.DataFrame) -> pd.DataFrame:
        return given

    result = store.materialize(copied)
    assert errors(result) == [
        "gold.marks can't be loaded: it is not in the warehouse as declared. Materialize it first."
    ]


def test_tables_of_the_pipeline_load_as_frames(school: School, store: Store) -> None:
    school.deliver(
        "students.csv", "student_id,name,class_id,grade,status\n007,A,5A,5,active\n8,B,,,"
    )
    school.deliver("attendance.csv", "attend_id,student_id,date,status\nA1,007,2026-06-29,P\n")
    assert school.run().success
    store.path = school.warehouse
    given: dict[str, pd.DataFrame] = {}

    @dg.asset(
        key=dg.AssetKey(MARKS.asset_key),
        ins={
            "students": dg.AssetIn(dg.AssetKey(tables.DIM_STUDENT.asset_key)),
            "daily": dg.AssetIn(dg.AssetKey(tables.CLASS_DAILY_PERFORMANCE.asset_key)),
        },
    )
    def report(students: pd.DataFrame, daily: pd.DataFrame) -> pd.DataFrame:
        given.update(students=students, daily=daily)
        return marks()

    assert store.materialize(report).success
    students = given["students"].sort_values("student_id")  # a table has no order of rows
    students = students[["student_id", "class_id", "grade_level", "is_active"]]
    assert students.iloc[0].tolist() == ["007", "5A", 5, True]
    assert students["grade_level"].isna().tolist() == [False, True]
    assert given["daily"]["date"].tolist() == [pd.Timestamp("2026-06-29")]
    assert given["daily"]["attendance_rate"].tolist() == [1.0]


def test_a_frame_is_written_whatever_was_read_before_and_is_gone_afterwards(store: Store) -> None:
    @dg.asset(key=dg.AssetKey(MARKS.asset_key))
    def first(warehouse: Warehouse) -> pd.DataFrame:
        with warehouse.get_connection() as connection:
            connection.execute("SELECT * FROM range(9)").fetchone()  # eight are left unread
        return marks()

    @dg.asset(key=dg.AssetKey(SMALL.asset_key), deps=[first])
    def second() -> Select:
        return Select("SELECT student_id, class_id, points FROM frame")

    result = store.materialize(first, second)
    assert store.rows(MARKS) == FULL_ROWS
    (message,) = errors(result)  # a later asset can't read the frame by mistake
    assert "Table with name frame does not exist" in message


# --- feeds ----------------------------------------------------------------------------------------


class Portions:
    """A feed of portions of (id, what)."""

    def __init__(self, *portions: list[tuple[str, str]], fails: bool = False) -> None:
        self.portions, self.fails = portions, fails

    def write(
        self, connection: duckdb.DuckDBPyConnection, store: Callable[[str], Written], run_id: str
    ) -> Mapping[str, Any]:
        added = 0
        for portion in self.portions:
            connection.execute("CREATE OR REPLACE TEMP TABLE portion (id VARCHAR, what VARCHAR)")
            connection.executemany("INSERT INTO portion VALUES (?, ?)", portion)
            added += store(
                "SELECT id, what, NULL::JSON AS _extra, rowid AS _source_row FROM portion"
            ).added
        if self.fails:
            raise ValueError("the last portion is broken")
        return {"rows_added": added, "fed_by": run_id}


def test_a_feed_stores_its_portions_by_the_strategy_of_the_table(store: Store) -> None:
    result = store.write(LOG, Portions([("1", "a"), ("1", "a")], [("1", "a"), ("2", "b")]))
    assert result.success
    assert sorted(row[:2] for row in store.rows(LOG)) == [("1", "a"), ("2", "b")]
    found = metadata_of(result, LOG)
    assert found["rows_added"] == 2
    assert found["fed_by"] == result.run_id
    assert found["dagster/row_count"] == 2
    assert found["dagster/table_name"] == "bronze.log"
    again = store.write(LOG, Portions([("2", "b")], [("3", "c")]))
    assert metadata_of(again, LOG)["rows_added"] == 1
    assert metadata_of(again, LOG)["dagster/row_count"] == 3


def test_a_feed_that_breaks_off_leaves_nothing_of_itself(store: Store) -> None:
    assert store.write(LOG, Portions([("1", "a")])).success
    result = store.write(LOG, Portions([("2", "b")], [("3", "c")], fails=True))
    assert "the last portion is broken" in errors(result)[0]
    assert attempts(result) == 1
    assert [row[:2] for row in store.rows(LOG)] == [("1", "a")]


def test_a_feed_without_portions_makes_an_empty_table(store: Store) -> None:
    assert store.write(LOG, Portions()).success
    assert store.rows(LOG) == []


# --- strategies and metadata ----------------------------------------------------------------------


def test_frames_go_through_the_declared_strategy(store: Store) -> None:
    def log(*rows: tuple[str, str]) -> pd.DataFrame:
        made = pd.DataFrame(rows, columns=["id", "what"])
        return made.assign(_extra=None, _source_row=range(1, len(made) + 1))

    def roster(*rows: tuple[str, str, str]) -> pd.DataFrame:
        made = pd.DataFrame(rows, columns=["student_id", "class_id", "updated_at"])
        return made.assign(_extra=None, _source_row=range(1, len(made) + 1))

    assert store.write(LOG, log(("1", "a"), ("2", "b"))).success
    result = store.write(LOG, log(("2", "b"), ("2", "c")))
    assert sorted(row[:2] for row in store.rows(LOG)) == [("1", "a"), ("2", "b"), ("2", "c")]
    assert metadata_of(result, LOG)["rows_added"] == 1

    assert store.write(
        ROSTER, roster(("S1", "5A", "2026-01-02"), ("S2", "5A", "2026-01-02"))
    ).success
    result = store.write(ROSTER, roster(("S1", "5B", "2026-01-03"), ("S2", "5B", "2026-01-01")))
    assert sorted(row[:2] for row in store.rows(ROSTER)) == [("S1", "5B"), ("S2", "5A")]
    assert (
        metadata_of(result, ROSTER)["rows_added"],
        metadata_of(result, ROSTER)["rows_removed"],
    ) == (1, 1)


def test_every_table_says_its_rows_its_name_and_the_time_it_took(store: Store) -> None:
    rows = [(f"S{number}", "5A", number) for number in range(3)]
    result = store.materialize(
        asset_of(MARKS, marks),
        asset_of(SMALL, lambda: Select("SELECT 'S9' AS student_id, '' AS class_id, 9 AS points")),
    )
    found = metadata_of(result, SMALL)
    assert found.pop("seconds") >= 0
    assert found == {
        "dagster/row_count": 1,
        "dagster/table_name": "gold.small",
        "rows_added": 1,
        "rows_removed": 0,
    }
    assert metadata_of(result, MARKS)["dagster/row_count"] == 3
    again = store.write(SMALL, frame(rows))
    assert metadata_of(again, SMALL)["dagster/row_count"] == 3
    assert metadata_of(again, SMALL)["rows_removed"] == 1
    state = {row[0]: row[1:5] for row in store.rows(tables.TABLE_STATE)}
    assert state == {
        "gold.small": (3, 1, True, again.run_id),
        "gold.marks": (3, None, True, result.run_id),
    }


@pytest.mark.parametrize("kind", ["frame", "select"])
def test_gold_follows_a_silver_table_that_was_written_from_outside(
    school: School, store: Store, kind: str
) -> None:
    students = "".join(f"S{number},A,5A,5,active\n" for number in range(40))
    school.deliver("students.csv", f"student_id,name,class_id,grade,status\n{students}")
    records = "".join(f"A{number},S{number},2026-06-29,P\n" for number in range(40))
    school.deliver("attendance.csv", f"attend_id,student_id,date,status\n{records}")
    assert school.run().success
    store.path = school.warehouse
    moved = (
        "SELECT * REPLACE (if(student_id = 'S7', '5B', class_id) AS class_id), "
        "CAST(NULL AS VARCHAR) AS reason FROM "
    )
    if kind == "frame":
        with duckdb.connect(school.warehouse, read_only=True) as connection:
            value: object = connection.execute(f"{moved} silver.dim_student").df()
    else:
        value = Select(f"{moved} silver.dim_student")  # names nothing that it reads
    assert store.write(tables.DIM_STUDENT, value).success
    assert store.query("SELECT class_id FROM gold.student_performance_summary GROUP BY 1") == [
        ("5A",)
    ]
    gold = defs.resolve_job_def(JOB_NAME).execute_in_process(
        run_config=school.run_config(),
        asset_selection=[dg.AssetKey(table.asset_key) for table in tables.GOLD],
        raise_on_error=False,
    )
    assert gold.success
    found = "SELECT student_id FROM gold.student_performance_summary WHERE class_id = '5B'"
    assert store.query(found) == [("S7",)]
    assert store.query("SELECT class_id, total_students FROM gold.class_daily_performance") == [
        ("5A", 39)
    ]  # the facts were not made anew: they have the class of before


def test_a_full_refresh_builds_the_table_anew(store: Store) -> None:
    assert store.write(SMALL, frame(OLD)).success
    assert store.materialize(asset_of(SMALL, lambda: frame(OLD[:1])), full_refresh=True).success
    assert store.rows(SMALL) == OLD[:1]
    failing = asset_of(SMALL, lambda: Select("SELECT FROM"))
    assert not store.materialize(failing, full_refresh=True).success
    assert store.rows(SMALL) == OLD[:1]


# --- what is tried again, and what is not ---------------------------------------------------------


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "RETRIES", dg.RetryPolicy(max_retries=3, delay=0))


def failing_until(attempt: int, error: Callable[[], Exception]) -> dg.AssetsDefinition:
    """An asset of the pipeline's making that fails before its `attempt`-th try."""
    tries = iter(range(1, 100))

    def marks() -> pd.DataFrame:
        if next(tries) < attempt:
            raise error()
        return frame(OLD)

    return table_asset(SMALL)(marks)


@pytest.mark.usefixtures("no_delay")
@pytest.mark.parametrize(
    "error",
    [
        lambda: OSError("the network drive hiccups"),
        lambda: TimeoutError("no answer"),
        lambda: duckdb.IOException("IO Error: the disk hiccups"),
        lambda: dg.Failure("The file changed while it was read."),
    ],
    ids=["os", "network", "duckdb", "changed file"],
)
def test_what_can_pass_is_tried_again_three_times(
    store: Store, error: Callable[[], Exception]
) -> None:
    passing = store.materialize(failing_until(3, error))
    assert passing.success
    assert attempts(passing) == 3
    assert store.rows(SMALL) == OLD
    lasting = store.materialize(failing_until(99, error))
    assert not lasting.success
    assert attempts(lasting) == 4
    original = error()
    assert (getattr(original, "description", None) or str(original)) in errors(lasting)[0]


@pytest.mark.usefixtures("no_delay")
@pytest.mark.parametrize(
    "error",
    [
        lambda: ValueError("a bug"),
        lambda: KeyError("a bug"),
        lambda: RuntimeError("a bug"),
        lambda: duckdb.BinderException("a bug"),
        lambda: dg.Failure("a bug", allow_retries=False),
    ],
    ids=["value", "key", "runtime", "binder", "failure"],
)
def test_what_can_not_pass_is_tried_once(store: Store, error: Callable[[], Exception]) -> None:
    result = store.materialize(failing_until(2, error))
    assert not result.success
    assert attempts(result) == 1
    assert "a bug" in errors(result)[0]


def test_tries_are_spaced_out_more_and_more() -> None:
    delays = [connection_module.RETRIES.calculate_delay(attempt) for attempt in (1, 2, 3)]
    assert 0 <= delays[0] <= 2 <= delays[1] <= 4 < 6 <= delays[2] <= 8


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes: as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("no_delay")
@pytest.mark.parametrize(
    ("rows", "size"),
    [(200_000, 1_000_000), (3_000, 20_000)],
    ids=["while writing", "in the commit"],
)
def test_a_full_disk_changes_nothing_and_the_next_try_succeeds(
    store: Store, rows: int, size: int
) -> None:
    assert store.write(SMALL, frame(OLD)).success
    big = Select(
        "SELECT hash(i)::VARCHAR AS student_id, hash(i + 1)::VARCHAR AS class_id, i AS points "
        f"FROM range({rows}) AS r (i)"
    )
    with largest_file(size):
        result = store.write(SMALL, big)
    assert not result.success
    assert attempts(result) == 4
    assert "File too large" in errors(result)[0]
    assert store.rows(SMALL) == OLD

    tries = iter(range(99))

    def freed() -> Select:  # the disk is full for the first try only
        if next(tries) == 0:
            limit.__enter__()
        else:
            limit.__exit__(None, None, None)
        return big

    limit = largest_file(size)
    result = store.materialize(asset_of(SMALL, freed))
    assert result.success, errors(result)
    assert attempts(result) == 2
    assert len(store.rows(SMALL)) == rows


def test_an_interrupt_ends_the_run_instead_of_a_try(store: Store) -> None:
    later: list[str] = []

    def interrupted() -> Select:
        raise RuntimeError("Query interrupted")  # what DuckDB makes of Ctrl-C

    def marks() -> Select:
        later.append("ran")
        return Select("SELECT 1")

    first = table_asset(MARKS)(interrupted)
    second = table_asset(SMALL)(marks)
    result = store.materialize(first, second)
    assert not result.success
    assert [event.step_key for event in result.all_events if event.is_step_failure] == [
        "gold_marks"
    ]
    assert not later
