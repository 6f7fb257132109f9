"""A run that is killed leaves every table old or new, and the next run ends as if nothing was."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from student_pipeline import tables
from student_pipeline.sample_data import write_sample
from student_pipeline.warehouse import compaction, connection, merge
from student_pipeline_tests.pipeline import NOW, School
from student_pipeline_tests.test_property import Direct

SMALL = {"students": 80, "attendance": 600, "assessments": 300}
INSTANTS = int(os.environ.get("KILL_INSTANTS", "200"))
EVERY_STATEMENT = int(os.environ.get("KILL_EVERY", "1"))
"""Every how many-th statement a run is killed."""


def _kept(table: tables.Table) -> str:
    """The columns of a table that don't tell when and by which load a row came."""
    return ", ".join(n for n in table.column_names if n not in ("_ingested_at", "_load_id"))


def content(school: School, table: tables.Table) -> list[tuple[Any, ...]]:
    return school.query(f"SELECT {_kept(table)} FROM {table.full_name} ORDER BY ALL")


def start(school: School, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start `student-pipeline run` as a process of its own."""
    environment = {
        **os.environ,
        "STUDENT_PIPELINE_SOURCE": str(school.landing),
        "STUDENT_PIPELINE_WAREHOUSE": str(school.warehouse),
        "STUDENT_PIPELINE_PUBLISH": str(school.published),
        "DAGSTER_HOME": str(school.folder / "dagster_home"),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "student_pipeline.cli", "run", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def deliver_sample(school: School, seed: int) -> None:
    """One more file of each source, with rows that correct those of other seeds."""
    folder = school.folder / f"sample_{seed}"
    write_sample(folder, seed=seed, **SMALL)
    for file in folder.iterdir():
        school.deliver(f"{file.stem}_{seed}{file.suffix}", file.read_bytes())


def test_a_whole_process_group_is_killed(tmp_path: Path) -> None:
    undisturbed, killed = School(tmp_path / "undisturbed"), School(tmp_path / "killed")
    for seed in (1, 2):  # the second delivery meets tables that have rows
        for school in (undisturbed, killed):
            deliver_sample(school, seed)
        process = start(killed)
        assert process.stdout is not None
        for said in process.stdout:
            if "silver/fact_attend" in said.decode():
                time.sleep(0.01 * seed)
                break
        os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait()

        finished = start(killed)
        output, _ = finished.communicate(timeout=120)
        assert finished.returncode == 0, output.decode()
        assert undisturbed.run().success
        for table in tables.TABLES.values():
            assert content(killed, table) == content(undisturbed, table), table.full_name


# --- at every statement, and at random instants ---------------------------------------------------

Tables = dict[str, list[tuple[Any, ...]]]


class Counting:
    """A connection that does something before each statement that may write.

    Nothing tells a run that is killed before a SELECT from one that is killed before the next write.
    """

    def __init__(self, real: duckdb.DuckDBPyConnection, before: Callable[[], None]) -> None:
        self._real, self._before = real, before

    def execute(self, statement: str, *parameters: Any) -> Any:
        if not statement.lstrip().startswith(("SELECT", "DESCRIBE", "WITH", "SET ")):
            self._before()
        return self._real.execute(statement, *parameters)

    def begin(self) -> None:
        self._before()
        self._real.begin()

    def commit(self) -> None:
        self._before()
        self._real.commit()
        self._before()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Morning:
    """A warehouse of yesterday and today's files, and what a run makes of them undisturbed."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(merge, "MOST_CHANGED", 1000)  # merges, however small the tables
        patch.setattr(compaction, "SMALLEST_FILE", 0)
        patch.setattr(compaction, "MOST_FREE", 0.0)
        self._patch = patch
        self.school = Direct(folder)
        deliver_sample(self.school, 1)
        self.run()
        self._yesterday = folder / "yesterday.duckdb"
        shutil.copyfile(self.school.warehouse, self._yesterday)
        self.old = self.tables()
        deliver_sample(self.school, 2)
        self.statements = 0
        with patch.context() as counting:
            self.watch(counting, self._count)
            started = time.monotonic()
            self.run()
            self.seconds = time.monotonic() - started
        self.new = self.tables()
        self._finished: set[object] = set()
        assert all(self.old[name] != self.new[name] for name in ("silver.fact_attend", GOLD))

    def _count(self) -> None:
        self.statements += 1

    def watch(self, patch: pytest.MonkeyPatch, before: Callable[[], None]) -> None:
        """Have something happen before every statement of a run."""
        real = connection.connect
        patch.setattr(connection, "connect", lambda *a, **k: Counting(real(*a, **k), before))

    def run(self) -> None:
        """Everything that a run writes, in this process: in a minute, and then compacted."""
        with self.school.built(NOW + timedelta(minutes=1)):
            pass
        last = connection.connect(self.school.warehouse)
        compaction.compact_when_it_pays(last, self.school.warehouse, lambda said: None)

    def tables(self) -> Tables:
        """Table -> content. A quarantine is two: the load writes one part, silver the other."""
        found: Tables = {}
        with duckdb.connect(self.school.warehouse, read_only=True) as reader:
            for table in (*tables.TABLES.values(), tables.LATEST_ROSTER):
                parts = {"": "true"}
                if table in tables.QUARANTINE:
                    broken = "reason = 'malformed_record'"
                    parts = {" (broken)": broken, " (refused)": f"NOT {broken}"}
                for part, where in parts.items():
                    found[table.full_name + part] = reader.execute(
                        f"SELECT {_kept(table)} FROM {table.full_name} WHERE {where} ORDER BY ALL"
                    ).fetchall()
        return found

    def yesterday(self) -> None:
        """Put the warehouse back to where it was before the run."""
        for left in self.school.folder.glob("warehouse.duckdb*"):
            left.unlink()
        shutil.copyfile(self._yesterday, self.school.warehouse)

    def killed(self, at_statement: int = 0, after_seconds: float = 0) -> None:
        """Run in a process of its own that is killed there."""
        child = os.fork()
        if not child:
            left = [at_statement]

            def before() -> None:
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)

            self.watch(self._patch, before)
            status = 1
            try:
                self.run()
                status = 0
            finally:
                os._exit(status)
        if after_seconds:
            time.sleep(after_seconds)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or not status, "the run failed by itself"

    def left(self) -> object:
        """All that the next run finds: the files, and a number for each table but its timestamps."""
        found: list[object] = sorted(path.name for path in self.school.folder.iterdir())
        with duckdb.connect(self.school.warehouse, read_only=True) as reader:
            columns = reader.execute(
                "SELECT schema_name, table_name, list(column_name ORDER BY column_name) "
                "FROM duckdb_columns() WHERE NOT internal AND data_type NOT LIKE 'TIMESTAMP%' "
                "GROUP BY ALL ORDER BY ALL"
            ).fetchall()
            for schema, table, names in columns:
                query = f"SELECT sum(hash({', '.join(names)})), count(*) FROM {schema}.{table}"
                found.append((table, reader.execute(query).fetchone()))
        return tuple(found)

    def require_whole_then_finished(self) -> None:
        """Every table is as before or as after; the next run makes it as after.

        What many kills leave is the same; the next run is tried once for each that is not.
        """
        for name, rows in self.tables().items():
            assert rows in (self.old[name], self.new[name]), f"{name} is half"
        left = self.left()
        if left not in self._finished:
            self.run()
            assert self.tables() == self.new
            self._finished.add(left)


GOLD = "gold.class_daily_performance"


@pytest.fixture(scope="module")
def morning(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield Morning(tmp_path_factory.mktemp("morning"), patch)


def test_killed_before_any_statement(morning: Morning) -> None:
    assert morning.statements > 100
    for statement in range(1, morning.statements + 1, EVERY_STATEMENT):
        morning.yesterday()
        morning.killed(at_statement=statement)
        morning.require_whole_then_finished()


def test_an_error_at_any_statement_changes_no_table_by_half(morning: Morning) -> None:
    """As an error of ours would do it: the run ends, what it had open is closed."""

    def broken() -> None:
        left[0] -= 1
        if not left[0]:
            raise RuntimeError("an error of ours")

    for statement in range(2, morning.statements, 5):
        morning.yesterday()
        left = [statement]
        with pytest.MonkeyPatch.context() as patch:
            morning.watch(patch, broken)
            with pytest.raises(RuntimeError):
                morning.run()
        morning.require_whole_then_finished()


def test_killed_at_any_instant(morning: Morning) -> None:
    chance = random.Random(20260630)
    for _ in range(INSTANTS):
        morning.yesterday()
        morning.killed(after_seconds=0.001 + chance.random() * morning.seconds)
        morning.require_whole_then_finished()
