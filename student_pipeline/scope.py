"""Which rows the checks of a table have to look at.

All of them, as long as the table is not large. Of a large one, once they have passed, only the rows
that changed since (`ops.changes`), and where nothing changed, none: what they found then still holds.
A large table of which a check failed or was changed, one that was rebuilt, and one whose checks are
run by themselves is looked at whole.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Literal

import duckdb

from student_pipeline import tables
from student_pipeline.tables import Table
from student_pipeline.warehouse import sql, state
from student_pipeline.warehouse.strategies import count, scalar, stored_columns

WHOLE_UP_TO = 250_000
"""Tables of up to this many rows are always looked at whole: that takes no time."""

READS: dict[str, Sequence[Table]] = {
    tables.DIM_STUDENT.full_name: [tables.BRONZE_STUDENTS],
    tables.FACT_ATTEND.full_name: [tables.BRONZE_ATTENDANCE, tables.DIM_STUDENT],
    tables.FACT_ASSESS.full_name: [tables.BRONZE_ASSESSMENTS, tables.DIM_STUDENT],
    **{table.full_name: tables.SILVER for table in tables.GOLD},
}
"""Table -> the tables whose rows its checks compare it with."""

CHECKS = "the checks themselves"
"""Stands for a table among the positions: its position is the hash of the checks."""

CHANGED_ROWS = "changed_rows"
"""Temporary table: the facts that changed, whose id was loaded, whose student moved, and all others of
the same student and day, as they stand in silver."""

LOADED_VERSIONS = "loaded_versions"
"""Temporary table: the records that were loaded since, and what stood for their ids before."""


@dataclass(frozen=True)
class Scope:
    """What the checks of one table look at.

    Attributes:
        positions: the tables that they read -> how far each has come.
        since: the same of the time when they passed last; empty where they look at everything.
    """

    way: Literal["whole", "changes", "unchanged"]
    positions: Mapping[str, int] = field(default_factory=dict)
    since: Mapping[str, int] = field(default_factory=dict)

    def rows(self, table: Table) -> str:
        """The relation of the rows that changed, with all others of the same key."""
        if self.way == "whole" or table.schema not in ("bronze", "silver"):
            return table.full_name
        if table.schema == "bronze":
            return f"(SELECT * FROM {table.full_name} WHERE _load_id > {self._seen(table)})"
        return CHANGED_ROWS if table in tables.FACTS else table.full_name

    def student_days(self, fact: Table) -> str:
        """The relation of all facts of the students and days of which a fact changed."""
        if self.way == "whole":
            return fact.full_name
        return (
            f"(SELECT fact.* FROM {CHANGED_ROWS} AS fact SEMI JOIN ({self.changes(fact)}) AS change "
            f"ON fact.student_id = change.student_id AND fact.{fact.date} = change.date)"
        )

    def class_days(self, table: Table) -> str:
        """The relation of all rows of the classes and days of which a fact changed."""
        if self.way == "whole":
            return table.full_name
        return (
            f"(SELECT stored.* FROM {table.full_name} AS stored "
            f"SEMI JOIN ({self.changes(*tables.FACTS)}) AS change "
            f"ON stored.class_id = change.class_id AND stored.{table.date} = change.date)"
        )

    def versions(self, bronze: Table) -> str:
        """The relation of the records that were loaded since, and of what stood for their ids."""
        return bronze.full_name if self.way == "whole" else LOADED_VERSIONS

    def changes(self, *changed: Table) -> str:
        """The SELECT of the changes of these tables since their checks passed."""
        return state.changes({table.full_name: self._seen(table) for table in changed})

    def _seen(self, table: Table) -> int:
        return self.since[table.full_name]


def reader(table: Table) -> str:
    """The name under which the checks of a table note how far they have followed."""
    return f"checks of {table.full_name}"


def scope_of(connection: duckdb.DuckDBPyConnection, table: Table, run_id: str) -> Scope:
    """What the checks of a table look at in a run."""
    written = connection.execute(
        "SELECT run_id FROM ops.table_state WHERE table_name = ?", [table.full_name]
    ).fetchone()
    every = [table, *READS.get(table.full_name, ())]
    if not all(stored_columns(connection, each) for each in every):
        return Scope("whole")
    positions = _positions(connection, table)
    since = state.watermarks(connection, reader(table))
    small = max(count(connection, each) for each in every) <= WHOLE_UP_TO
    if small or written != (run_id,):
        return Scope("whole", positions)
    if positions == since:
        return Scope("unchanged", positions, since)
    if hasattr(connection, "stored_columns"):  # a cluster's rows have no numbers to find them by
        return Scope("whole", positions)
    if (
        set(positions) != set(since)
        or positions[CHECKS] != since[CHECKS]
        or state.changed_wholly(connection, since)
        or (table.schema == "bronze" and not _silver_follows(connection, table, since))
    ):
        return Scope("whole", positions)
    scope = Scope("changes", positions, since)
    if table in tables.FACTS:
        _find_changed_rows(connection, table, scope)
    elif table.schema == "bronze":
        _find_versions(connection, table, scope)
    return scope


def passed(connection: duckdb.DuckDBPyConnection, table: Table) -> bool:
    """Whether the blocking checks of the table have passed on the rows that stand there now."""
    return state.watermarks(connection, reader(table)) == _positions(connection, table)


def _positions(connection: duckdb.DuckDBPyConnection, table: Table) -> dict[str, int]:
    """What decides what checks find: how far each table has come, and the checks themselves."""
    every = [table, *READS.get(table.full_name, ())]
    return {
        **{each.full_name: state.position(connection, each) for each in every},
        CHECKS: _hash_of_checks(),
    }


@cache
def _hash_of_checks() -> int:
    """A number that changes when a check does, or the engine, whose hashes stand in `_id_hash`."""
    package = files("student_pipeline")
    texts = [package.joinpath("checks.py").read_text(encoding="utf-8"), sql.macros()]
    texts.append(duckdb.__version__)
    queries = package.joinpath("sql/checks").iterdir()
    texts += sorted(query.read_text(encoding="utf-8") for query in queries)
    return int(hashlib.sha256("\n".join(texts).encode()).hexdigest()[:15], 16)


def _find_changed_rows(connection: duckdb.DuckDBPyConnection, fact: Table, scope: Scope) -> None:
    """The rows of ids that changed or were loaded, of these student-days, of students that moved."""
    bronze = tables.TABLES[f"bronze.{fact.source}"]
    changes = scope.changes(fact)
    stands = f"SELECT rowid FROM {fact.full_name} WHERE"
    places = [
        f"{stands} _id_hash IN (SELECT id_hash(id) FROM ({changes}) AS change UNION "
        f"SELECT id_hash(clean({bronze.columns[0].name})) FROM {scope.rows(bronze)} AS loaded)"
    ]
    if fact.rivals:
        places.append(
            f"{stands} (student_id, {fact.date}) IN "
            f"(SELECT student_id, date FROM ({changes}) AS change)"
        )
    moved = state.moved_students(scope.since[tables.DIM_STUDENT.full_name])
    if scalar(connection, f"SELECT count(*) FROM ({moved}) AS moved"):
        places.append(f"{stands} student_id IN ({moved})")
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {CHANGED_ROWS} AS FROM {fact.full_name} "
        f"WHERE rowid IN ({' UNION ALL '.join(places)})"
    )


def _find_versions(connection: duckdb.DuckDBPyConnection, bronze: Table, scope: Scope) -> None:
    """Silver is not made yet when bronze is checked: it holds the latest version of before.

    All versions before that one had the same student, or were warned of.
    """
    id_, silver = bronze.columns[0].name, _silver_of(bronze)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {LOADED_VERSIONS} AS "
        f"SELECT {id_}, student_id FROM {scope.rows(bronze)} AS loaded"
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE loaded_ids AS "
        f"SELECT DISTINCT clean({id_}) AS id FROM {LOADED_VERSIONS}"
    )
    connection.execute(
        f"INSERT INTO {LOADED_VERSIONS} SELECT {silver.key[0]}, student_id "
        f"FROM {silver.full_name} WHERE rowid IN (SELECT rowid FROM {silver.full_name} "
        "WHERE _id_hash IN (SELECT id_hash(id) FROM loaded_ids)) "
        f"UNION ALL SELECT {id_}, student_id FROM quarantine.{bronze.source} "
        f"WHERE reason <> 'malformed_record' AND clean({id_}) IN (FROM loaded_ids)"
    )


def _silver_of(bronze: Table) -> Table:
    return next(table for table in tables.SILVER if table.source == bronze.source)


def _silver_follows(
    connection: duckdb.DuckDBPyConnection, bronze: Table, since: Mapping[str, int]
) -> bool:
    """Whether silver has followed as far as the checks of bronze have."""
    followed = state.watermarks(connection, _silver_of(bronze).full_name)
    return followed.get(bronze.full_name, -1) >= since[bronze.full_name]


def note_passed(
    connection: duckdb.DuckDBPyConnection, table: Table, scope: Scope, warnings: Mapping[str, str]
) -> None:
    """Note that no blocking check failed on these rows, and what the others warned of.

    Args:
        warnings: check -> its sentence.
    """
    if scope.way == "unchanged" or not scope.positions:
        return
    connection.execute("DELETE FROM ops.warnings WHERE table_name = ?", [table.full_name])
    for check, sentence in warnings.items():
        connection.execute(
            "INSERT INTO ops.warnings VALUES (?, ?, ?)", [table.full_name, check, sentence]
        )
    state.follow(connection, reader(table), scope.positions)


def note_failed(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Have the next checks of the table look at all of it."""
    state.follow(connection, reader(table), {})


def last_warning(connection: duckdb.DuckDBPyConnection, table: Table, check: str) -> str | None:
    """What a check warned of when it looked last; None where it passed."""
    row = connection.execute(
        "SELECT sentence FROM ops.warnings WHERE table_name = ? AND check_name = ?",
        [table.full_name, check],
    ).fetchone()
    return row[0] if row else None
