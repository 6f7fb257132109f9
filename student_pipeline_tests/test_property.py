"""Random sequences of deliveries against `oracle.py`, table by table, after every run.

Words are few and many of them dirty, so that ids collide, versions tie, rows go bad and are mended,
students arrive late and change class. The sequences are always the same ones; the environment
variable `HYPOTHESIS_SEQUENCES` sets how many there are.
"""

import csv
import io
import json
import logging
import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import dagster as dg
import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from student_pipeline import tables
from student_pipeline.assets import bronze, gold, silver
from student_pipeline.ingest.delivery import LandingFolder
from student_pipeline.settings import Rules
from student_pipeline.warehouse import connection, merge
from student_pipeline.warehouse.connection import Warehouse
from student_pipeline.warehouse.io_manager import WarehouseIOManager
from student_pipeline.warehouse.values import Relation
from student_pipeline_tests.oracle import SOURCES, Oracle
from student_pipeline_tests.pipeline import NOW, School, failed_checks
from student_pipeline_tests.test_against_oracle import assert_same_tables

SEQUENCES = int(os.environ.get("HYPOTHESIS_SEQUENCES", "40"))

# --- what is delivered ----------------------------------------------------------------------------

_TIMES = (
    "2026-05-04T08:00:00Z",
    "2026-05-04T10:00:00+02:00",
    "2026-05-05",
    "2026-05-04 08:00:00.5",
)
_NO_TIMES = ("", "junk", "2026-05-32")
# Two dates are good or not by the day on which they are loaded: runs start on 2026-06-30.
_DAYS = ("2026-05-04", "5/4/2026", "2026-05-05", "20260505", "2026-05-04T23:00-05:00", "2026-07-02")
_NO_DAYS = ("2026-07-04", "1999-12-31", "soon", "")
_STUDENTS = ("S1", "S2", "S3", " S2\u00a0")
_NO_STUDENTS = ("S9", "s1", "", "N/A")

Words = dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]]

WORDS: dict[str, Words] = {
    "students": {
        "student_id": (("S1", "S2", "S3", "S9", " S2\u00a0"), ("s1", "", "N/A")),
        "name": (("Ana", " Bo "), ("",)),
        "class_id": (("7A", "7B", " 7B"), ("", "-")),
        "grade": (("7", "7th", "K"), ("", "x")),
        "status": (("ACTIVE", "enrolled", "Withdrawn"), ("", "?")),
        "updated_at": (_TIMES, _NO_TIMES),
    },
    "attendance": {
        "attend_id": (("a1", "a2", "a3", "a4", "a5", "a6", "a1 ", "A1"), ("", "-")),
        "student_id": (_STUDENTS, _NO_STUDENTS),
        "date": (_DAYS, _NO_DAYS),
        "status": (("P", "A", "late", "E", "p"), ("?", "", "present!")),
        "created_at": (_TIMES, _NO_TIMES),
    },
    "assessments": {
        "assessment_id": (("e1", "e2", "e3", "e4", "e5", "\u200be1"), ("", "none")),
        "student_id": (_STUDENTS, _NO_STUDENTS),
        "subject": (("Math", "Art"), ("",)),
        "score": (("45", "0", "7.25", "33.335", "1e1", 45, 0.5), ("101", "-1", "x", "")),
        "max_score": (("50", "100", 50, ""), ("0", "x")),
        "date": (_DAYS, _NO_DAYS),
        "created_at": (_TIMES, _NO_TIMES),
    },
}
"""Source -> column -> (good words, dirty words)."""

PLACES = {
    "students": ("students.csv", "students_b.json", "Students/c.tsv"),
    "attendance": ("attendance.csv", "attendance-b.jsonl", "attendance/c/d.csv"),
    "assessments": ("assessments.json", "assessments_b.jsonl", "assessments.csv"),
}
BROKEN = {".csv": "broken\n", ".tsv": "broken\n", ".jsonl": "{broken\n"}
"""A record that can't be read; JSON arrays get a number among their objects instead."""

Row = dict[str, Any] | None
"""A record's fields; None is a broken record."""


def some_rows(source: str, seed: int) -> list[Row]:
    """Some records of a source: most are good, many have a dirty word; a few are broken.

    Hypothesis chooses the seed, not the words: it prefers few and equal ones, which seldom collide.
    """
    chance = random.Random(f"{source} {seed}")
    rows: list[Row] = []
    for _ in range(chance.randint(4, 10)):
        row = {name: chance.choice(good) for name, (good, _) in WORDS[source].items()}
        if chance.random() < 0.4:
            name = chance.choice([*row])
            row[name] = chance.choice(WORDS[source][name][1])
        if chance.random() < 0.1:
            row["note"] = "x"
        rows.append(row)
    # One broken record among five or more is borne, nine lead to the file's refusal.
    broken = chance.choices([0, 1, 9], [20, 4, 1])[0]
    return [*rows, *[None] * broken]


@dataclass(frozen=True)
class Action:
    """What happens to one file of a source between two runs.

    Attributes:
        kind: `write` new content, `grow` by rows at the end, `correct` a row in place, `turn` the
            rows' order, `copy` from `other` place, `remove`.
        seed: of the new rows, where there are any.
    """

    kind: Literal["write", "grow", "correct", "turn", "copy", "remove"]
    source: str
    place: int
    other: int
    seed: int


actions = st.builds(
    Action,
    kind=st.sampled_from(["correct", "grow", "write", "turn", "copy", "remove"]),
    source=st.sampled_from(SOURCES),
    place=st.integers(0, 2),
    other=st.integers(0, 2),
    seed=st.integers(0, 10**6),
)


@dataclass(frozen=True)
class Step:
    """What happens before a run, and how it runs.

    Attributes:
        killed_at: the statement at which a first try ends, as it does for a process that is killed;
            0 where none does.
    """

    actions: list[Action]
    days_later: int
    full_refresh: bool
    killed_at: int = 0


steps = st.builds(
    Step,
    actions=st.lists(actions, min_size=1, max_size=4),
    days_later=st.sampled_from([0, 1, 3, -2]),  # clocks go backwards, too
    full_refresh=st.sampled_from([False, False, False, True]),
    killed_at=st.one_of(st.just(0), st.integers(1, 600)),
)


def first_step(seed: int) -> Step:
    """Every source delivers something at first."""
    return Step([Action("write", source, 0, 0, seed) for source in SOURCES], 0, False)


sequences = st.builds(
    lambda seed, rest: [first_step(seed), *rest],
    st.integers(0, 10**6),
    st.lists(steps, min_size=1, max_size=4),
)


class Folder:
    """The landing folder as rows, and its files."""

    def __init__(self, school: School) -> None:
        self.school = school
        self.rows: dict[tuple[str, int], list[Row]] = {}

    def act(self, action: Action) -> None:
        here = (action.source, action.place)
        stood = self.rows.get(here, [])
        new = some_rows(action.source, action.seed)
        name = PLACES[action.source][action.place]
        if action.kind == "remove":
            self.rows.pop(here, None)
            (self.school.landing / name).unlink(missing_ok=True)
            return
        self.rows[here] = {
            "write": new,
            "grow": stood + new,
            "correct": [new[0], *stood[1:]],
            "turn": stood[::-1] or new,
            "copy": self.rows.get((action.source, action.other), new),
        }[action.kind]
        text = file_of(action.source, name, self.rows[here])
        self.school.deliver(name, text)
        note(f"{name}:\n{text}")


def file_of(source: str, name: str, rows: Sequence[Row]) -> str:
    """The file's text in the format that its name says."""
    extension = Path(name).suffix
    if extension == ".json":
        return json.dumps([42 if row is None else row for row in rows])
    if extension == ".jsonl":
        return "".join(BROKEN[extension] if row is None else json.dumps(row) + "\n" for row in rows)
    text = io.StringIO()
    columns = [*WORDS[source], "note"]
    delimiter = "\t" if extension == ".tsv" else ","
    writer = csv.DictWriter(text, columns, "", delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        if row is None:
            text.write(BROKEN[extension])
        else:
            writer.writerow(row)
    return text.getvalue()


# --- how it runs ----------------------------------------------------------------------------------


@dataclass
class Output:
    """What the IO manager wants to know of an output."""

    asset_key: dg.AssetKey
    run_id: str
    log: ClassVar[logging.Logger] = logging.getLogger("nobody")

    def add_output_metadata(self, metadata: object) -> None:
        """There is nobody to show it to."""


class Killed(BaseException):
    """The process is no more."""


class Mortal:
    """A connection that ends at a statement; what was not committed is lost."""

    def __init__(self, real: duckdb.DuckDBPyConnection, statements: int) -> None:
        self._real, self._left = real, statements

    def execute(self, *arguments: Any) -> Any:
        self._left -= 1
        if not self._left:
            self._real.close()
            raise Killed
        return self._real.execute(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Direct(School):
    """A school whose assets run without Dagster's machinery, three times as fast.

    Assets, resources and the IO manager are the real ones; checks don't run. What would wait below
    a refused file in the real job waits here.
    """

    connection: duckdb.DuckDBPyConnection | None = None

    @contextmanager
    def built(self, now: datetime, full_refresh: bool = False) -> Iterator[None]:
        """Run all assets; inside, `rows` reads what they left."""
        rules = Rules()
        landing = LandingFolder(url=str(self.landing), fixed_time=now.isoformat(), rules=rules)
        warehouse = Warehouse(database=str(self.warehouse), full_refresh=full_refresh)
        io_manager = WarehouseIOManager(warehouse=warehouse)
        resources = {"rules": rules, "landing": landing}
        waiting: set[str] = set()
        try:
            for definition in bronze.ASSETS:
                self._materialize(definition, resources, io_manager)
            with warehouse.get_connection() as self.connection:
                waiting = self._refused(now)
            for definition in (*silver.ASSETS, *gold.ASSETS):
                if not waiting & self._sources_above(definition):
                    self._materialize(definition, resources, io_manager)
            yield
        finally:
            self.connection = None
            warehouse.close()

    def _materialize(
        self,
        definition: dg.AssetsDefinition,
        resources: dict[str, Any],
        io_manager: WarehouseIOManager,
    ) -> None:
        inputs = {
            name: Relation(tables.TABLES[".".join(key.path)])
            for name, key in definition.keys_by_input_name.items()
            if key.path[0] != "landing"
        }
        needed = {
            name: resources[name] for name in definition.required_resource_keys & {*resources}
        }
        # The function below the decorator: calling the definition makes a Dagster instance.
        function = cast(Any, definition.op.compute_fn).decorated_fn
        for output in function(**inputs, **needed):
            key = definition.keys_by_output_name[output.output_name]
            io_manager.handle_output(cast(Any, Output(key, "run")), output.value)

    def _refused(self, now: datetime) -> set[str]:
        """The sources of which a file is refused now."""
        return {
            row["source"]
            for row in self.rows("ops.source_files")
            if row["status"] == "refused" and (self.landing / row["path"]).exists()
            if row["loaded_at"] == now
        }

    def _sources_above(self, definition: dg.AssetsDefinition) -> set[str]:
        if definition in gold.ASSETS:
            return set(SOURCES)
        sources = {tables.TABLES[".".join(key.path)].source for key in definition.keys}
        return {"students", *(source for source in sources if source)}

    def rows(self, table: str) -> list[dict[str, Any]]:
        if self.connection is None:
            return super().rows(table)
        try:
            cursor = self.connection.execute(f"SELECT * FROM {table}")
        except duckdb.CatalogException:  # nothing was ever built: the first file was refused
            return []
        names = [column[0] for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def contents(school: School) -> dict[str, list[str]]:
    """Every row of every table with every column, sorted where the order is nobody's promise."""
    return {
        name: [repr(row) for row in school.rows(name)]
        if table.order_by
        else sorted(repr(row) for row in school.rows(name))
        for name, table in tables.TABLES.items()
    }


@pytest.fixture(autouse=True)
def always_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is so much that a table would rather be rebuilt: of these few rows all may change."""
    monkeypatch.setattr(merge, "MOST_CHANGED", 1000)


COMMON = settings(
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)


def build_until(statement: int, school: Direct, now: datetime, full_refresh: bool) -> None:
    """Run until that statement, or to the end if there are fewer."""
    real = connection.connect
    with pytest.MonkeyPatch.context() as patch, suppress(Killed, duckdb.ConnectionException):
        patch.setattr(connection, "connect", lambda *a, **k: Mortal(real(*a, **k), statement))
        with school.built(now, full_refresh):
            pass


@settings(COMMON, max_examples=SEQUENCES)
@given(sequences)
def test_any_sequence_of_deliveries_gives_the_tables_of_the_reference(sequence: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        school, oracle = Direct(Path(folder)), Oracle(wait_by_lineage=True)
        landing, now = Folder(school), NOW
        for number, step in enumerate(sequence):
            note(f"run {number + 1}")
            now += timedelta(days=step.days_later, seconds=1)
            for action in step.actions:
                landing.act(action)
            if step.killed_at:
                build_until(step.killed_at, school, now, step.full_refresh)
            with school.built(now, step.full_refresh):
                oracle.run(school.landing, now)
                assert_same_tables(school, oracle)
                before = contents(school)
        # Built the other way, everything and at once or only what is new: not a cell changes.
        with school.built(now + timedelta(days=1), not sequence[-1].full_refresh):
            assert contents(school) == before


@settings(COMMON, max_examples=max(1, SEQUENCES // 10))
@given(sequences)
def test_the_job_gives_the_tables_of_the_reference(sequence: list[Step]) -> None:
    """The same through Dagster, checks included, as far as no check stops it."""
    with tempfile.TemporaryDirectory() as folder:
        school, oracle = School(Path(folder)), Oracle(wait_by_lineage=True)
        landing, now = Folder(school), NOW
        for step in sequence[:2]:
            now += timedelta(days=step.days_later, seconds=1)
            for action in step.actions:
                landing.act(action)
            result = school.run(now=now, full_refresh=step.full_refresh)
            oracle.run(school.landing, now)
            # A file may be refused, a table may lose all its rows; any other check must pass.
            failed = {name.split(": ")[1] for name in failed_checks(result)}
            assert failed <= {"files_readable", "not_empty"}
            if failed:
                return
            assert_same_tables(school, oracle)
