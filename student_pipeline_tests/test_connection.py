"""One process writes the warehouse: who waits, for whom, how long, and what is said of it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from student_pipeline import cli
from student_pipeline.tables import Table
from student_pipeline.warehouse import connection as connection_module
from student_pipeline.warehouse import strategies
from student_pipeline.warehouse.connection import Warehouse, WarehouseBusy, connect
from student_pipeline.warehouse.strategies import Written
from student_pipeline_tests.pipeline import School, errors, failed_checks

ROSTER = "student_id,name,class_id,grade,status\nS1,A,5A,5,active\nS2,B,5B,5,active\n"
ATTENDANCE = "attend_id,student_id,date,status\nA1,S1,2026-06-29,P\nA2,S2,2026-06-29,A\n"

PROGRAM = os.path.basename(os.path.realpath(sys.executable))


class Holder:
    """Another process that has the warehouse open."""

    def __init__(self, path: Path, read_only: bool) -> None:
        code = (
            "import duckdb, sys\n"
            f"connection = duckdb.connect({str(path)!r}, read_only={read_only})\n"
            "print('open', flush=True)\n"
            "sys.stdin.read()\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "open\n"

    @property
    def name(self) -> str:
        return f"process {self.process.pid} ({PROGRAM})"

    def let_go(self) -> None:
        self.process.communicate()


@contextmanager
def held(path: Path, *, read_only: bool = False) -> Iterator[Holder]:
    holder = Holder(path, read_only)
    try:
        yield holder
    finally:
        holder.let_go()


class Clock:
    """A time that passes only by sleeping, and what happens meanwhile."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pace = 1.0
        self.naps: list[float] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds * self.pace
        self.naps.append(seconds)
        self.meanwhile()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(connection_module, "time", clock)
    return clock


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a school that had its first run, to be copied."""
    school = School(tmp_path_factory.mktemp("first_run"))
    school.deliver("students.csv", ROSTER)
    assert school.run().success
    return school.folder


@pytest.fixture
def running_school(first_run: Path, school: School) -> School:
    """A school that had its first run."""
    shutil.copytree(first_run, school.folder, dirs_exist_ok=True)
    return school


def in_another_process(path: Path, sql: str, *, read_only: bool) -> str:
    """What another process gets when it queries the warehouse now: the result or the error."""
    code = (
        "import duckdb\n"
        f"connection = duckdb.connect({str(path)!r}, read_only={read_only})\n"
        f"print(connection.execute({sql!r}).fetchall())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return (done.stdout + done.stderr).strip()


def steps_that(result: dg.ExecuteInProcessResult, what: str) -> list[str]:
    return [event.step_key or "" for event in result.all_events if event.event_type_value == what]


# --- waiting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("read_only", [False, True], ids=["writer", "reader"])
def test_a_run_waits_until_the_holder_lets_go(
    running_school: School, clock: Clock, read_only: bool
) -> None:
    running_school.deliver("attendance.csv", ATTENDANCE)
    instance = dg.DagsterInstance.ephemeral()
    with held(running_school.warehouse, read_only=read_only) as holder:

        def let_go_in_the_end() -> None:
            if len(clock.naps) == 5:
                holder.let_go()

        clock.meanwhile = let_go_in_the_end
        result = running_school.run(instance=instance, lock_timeout_seconds=1800)
    assert result.success, errors(result)
    assert len(clock.naps) == 5
    assert len(running_school.rows("silver.fact_attend")) == 2
    said = [entry.user_message for entry in instance.all_logs(result.run_id)]
    expected = (
        f"Waiting for the warehouse {running_school.warehouse}: it is in use by {holder.name}."
    )
    assert said.count(expected) == 1


@pytest.mark.parametrize("read_only", [False, True], ids=["writer", "reader"])
def test_a_run_gives_up_when_the_holder_does_not_let_go(
    running_school: School, clock: Clock, read_only: bool
) -> None:
    running_school.deliver("attendance.csv", ATTENDANCE)
    before = running_school.warehouse.read_bytes()
    with held(running_school.warehouse, read_only=read_only) as holder:
        result = running_school.run(lock_timeout_seconds=30)
        sentence = (
            f"The warehouse {running_school.warehouse} is in use by {holder.name}, which did not "
            "let go of it within 30 seconds. Nothing was changed."
        )
        assert not result.success
        assert errors(result) == [sentence] * 3  # of the three bronze tables, each told
    # The run waits once, not once for each table, and it looks at least once a second.
    assert 30 <= sum(clock.naps) <= 31
    assert max(clock.naps) <= 1
    assert steps_that(result, "STEP_UP_FOR_RETRY") == []
    assert running_school.warehouse.read_bytes() == before


def test_no_patience_means_no_wait(running_school: School, clock: Clock) -> None:
    with held(running_school.warehouse) as holder:
        result = running_school.run(lock_timeout_seconds=0)
        assert f"in use by {holder.name}" in errors(result)[0]
    assert clock.naps == []


def test_ctrl_c_ends_a_run_that_waits(running_school: School, clock: Clock) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    clock.meanwhile = interrupt
    with held(running_school.warehouse):
        result = running_school.run(lock_timeout_seconds=1800)
    assert not result.success
    assert len(clock.naps) == 1
    assert len(steps_that(result, "STEP_START")) == 1  # and no other step starts after it
    assert steps_that(result, "STEP_UP_FOR_RETRY") == []


@pytest.fixture
def places(school: School, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The environment of a command that runs for `school`; handlers it sets are reset."""
    environment = {
        "STUDENT_PIPELINE_SOURCE": str(school.landing),
        "STUDENT_PIPELINE_WAREHOUSE": str(school.warehouse),
        "DAGSTER_HOME": str(school.folder / "home"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    numbers = (signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    yield environment
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("places")
def test_the_command_says_who_holds_the_warehouse_and_fails(
    running_school: School, clock: Clock, capfd: pytest.CaptureFixture[str]
) -> None:
    clock.pace = 100
    with held(running_school.warehouse) as holder:
        assert cli.main(["run"]) == cli.FAILED
    said = capfd.readouterr().out
    assert f"Waiting for the warehouse {running_school.warehouse}: it is in use by" in said
    assert f"is in use by {holder.name}, which did not let go of it within 1800 seconds" in said
    assert "Traceback" not in said
    assert clock.now >= 2800


def test_two_runs_at_once_both_succeed(school: School, places: dict[str, str]) -> None:
    school.deliver("students.csv", ROSTER)
    school.deliver("attendance.csv", ATTENDANCE)
    Path(places["DAGSTER_HOME"]).mkdir()
    dg.DagsterInstance.from_config(places["DAGSTER_HOME"]).dispose()  # the history is there
    command = [sys.executable, "-m", "student_pipeline.cli", "run"]
    runs = [
        subprocess.Popen(
            command,
            env={**os.environ, **places},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    said = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert len(school.rows("bronze.attendance")) == 2
    assert len(school.rows("silver.fact_attend")) == 2
    loads = school.query("SELECT source, count(*) FROM ops.source_files GROUP BY ALL ORDER BY ALL")
    assert loads == [("attendance", 1), ("students", 1)]  # the second run had nothing to load
    with dg.DagsterInstance.from_config(places["DAGSTER_HOME"]) as instance:
        statuses = [run.status for run in instance.get_runs()]
    assert statuses == [dg.DagsterRunStatus.SUCCESS] * 2


# --- readers --------------------------------------------------------------------------------------


def test_everybody_can_read_between_runs(running_school: School) -> None:
    query = "SELECT student_id FROM silver.dim_student ORDER BY ALL"
    with held(running_school.warehouse, read_only=True):
        answer = in_another_process(running_school.warehouse, query, read_only=True)
    assert answer == "[('S1',), ('S2',)]"
    running_school.deliver("attendance.csv", "broken")
    assert not running_school.run().success
    for read_only in (True, False):  # after a failed run, too
        answer = in_another_process(running_school.warehouse, query, read_only=read_only)
        assert answer == "[('S1',), ('S2',)]"


def test_who_wants_to_read_during_a_run_has_to_wait_and_breaks_nothing(
    running_school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    running_school.deliver("attendance.csv", ATTENDANCE)
    answers: list[str] = []
    written = strategies.write

    def write(
        connection: duckdb.DuckDBPyConnection, table: Table, incoming: str, *more: Any
    ) -> Written:
        if not answers:
            answers.append(in_another_process(running_school.warehouse, "SELECT 1", read_only=True))
        return written(connection, table, incoming, *more)

    monkeypatch.setattr(strategies, "write", write)
    assert running_school.run().success
    assert f"(PID {os.getpid()})" in answers[0]  # DuckDB tells the reader who is busy
    assert len(running_school.rows("silver.fact_attend")) == 2


# --- what can't be opened -------------------------------------------------------------------------


def no_database(path: Path) -> None:
    path.write_bytes(b"Student_ID;Name\n" * 100)


def a_folder(path: Path) -> None:
    path.mkdir()


def below_a_file(path: Path) -> None:
    path.parent.write_text("a file where the folder should be")


@pytest.mark.parametrize(
    ("spoil", "name", "reason"),
    [
        (no_database, "warehouse.duckdb", ", but it is not a valid DuckDB database file!"),
        (a_folder, "warehouse.duckdb", ": Is a directory"),
        (a_folder, "Could not open lock", ": Is a directory"),
        (below_a_file, "lock/warehouse.duckdb", "can't be opened: File exists"),
    ],
)
def test_what_is_no_warehouse_is_said_at_once_and_left_alone(
    school: School,
    clock: Clock,
    spoil: Callable[[Path], None],
    name: str,
    reason: str,
) -> None:
    school.deliver("students.csv", ROSTER)
    path = school.folder / name
    spoil(path)
    before = {p: p.is_file() and p.read_bytes() for p in school.folder.rglob("*")}
    result = school.run(database=str(path), lock_timeout_seconds=1800)
    assert not result.success
    for message in errors(result):
        assert message.startswith(f"The warehouse {path} can't be opened: ")
        assert message.endswith(reason)
        assert "\n" not in message
    assert steps_that(result, "STEP_UP_FOR_RETRY") == []
    assert clock.naps == []  # nobody holds it: there is nothing to wait for
    assert {p: p.is_file() and p.read_bytes() for p in school.folder.rglob("*")} == before


def test_a_memory_limit_that_is_none_is_said_and_the_file_is_free(running_school: School) -> None:
    result = running_school.run(memory_limit="plenty")
    assert not result.success
    assert f"The warehouse {running_school.warehouse} can't be opened: " in errors(result)[0]
    assert "Memory" in errors(result)[0]
    assert in_another_process(running_school.warehouse, "SELECT 1", read_only=False) == "[(1,)]"


# --- connect --------------------------------------------------------------------------------------


def test_opening_makes_the_folder_the_schemas_and_the_macros(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "warehouse.duckdb"
    with connect(path) as connection:
        schemas = connection.execute(
            "SELECT schema_name FROM duckdb_schemas() WHERE NOT internal ORDER BY ALL"
        ).fetchall()
        assert {name for (name,) in schemas} >= {"ops", "bronze", "silver", "quarantine", "gold"}
        assert connection.execute("SELECT clean(' x '), clean('N/A')").fetchall() == [("x", None)]
        assert connection.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
    with connect(path, read_only=True) as connection:
        assert connection.execute("SELECT clean(' x ')").fetchall() == [("x",)]
        with pytest.raises(duckdb.InvalidInputException):
            connection.execute("CREATE TABLE gold.t (a INTEGER)")


def test_reading_only_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(duckdb.IOException):
        connect(tmp_path / "nowhere" / "warehouse.duckdb", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_connecting_names_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    connect(path).close()
    told: list[str] = []
    with held(path) as holder, pytest.raises(WarehouseBusy, match="in use by process "):
        connect(path, timeout_seconds=0.1, tell=told.append)
    assert told == [f"Waiting for the warehouse {path}: it is in use by {holder.name}."]


def test_a_run_opens_the_file_once(running_school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []

    def counted(path: Path, **settings: Any) -> duckdb.DuckDBPyConnection:
        opened.append(path)
        return connect(path, **settings)

    monkeypatch.setattr(connection_module, "connect", counted)
    result = running_school.run()
    assert result.success, failed_checks(result)
    assert opened == [running_school.warehouse]


def test_a_closed_warehouse_opens_again(tmp_path: Path) -> None:
    warehouse = Warehouse(database=str(tmp_path / "warehouse.duckdb"))
    for _ in range(2):
        with warehouse.get_connection() as connection:
            assert connection.execute("SELECT 1").fetchall() == [(1,)]
        warehouse.close()
        warehouse.close()  # twice is once


def test_a_connection_that_broke_is_replaced(tmp_path: Path) -> None:
    warehouse = Warehouse(database=str(tmp_path / "warehouse.duckdb"))

    def broken() -> None:
        with warehouse.transaction() as connection:
            connection.execute("CREATE TABLE gold.t (a INTEGER)")
            connection.close()  # as after an error that is fatal to DuckDB

    with pytest.raises(duckdb.ConnectionException):
        broken()
    with warehouse.transaction() as connection:
        connection.execute("CREATE TABLE gold.t (a INTEGER)")  # it is not there yet
    warehouse.close()


def test_a_warehouse_that_was_busy_can_be_asked_again(tmp_path: Path) -> None:
    warehouse = Warehouse(database=str(tmp_path / "warehouse.duckdb"), lock_timeout_seconds=0)

    def use() -> None:
        with warehouse.get_connection():
            pass

    connect(warehouse.path).close()
    with held(warehouse.path), pytest.raises(dg.Failure):
        use()
    warehouse.close()
    use()
    warehouse.close()
