"""Bringing a table up to date from what changed in the tables that it reads.

The same SELECT serves both ways. Over whole tables it rebuilds; over the rows that may have changed
it gives just those rows, as a rebuild would. What may have changed is found from the positions that
the table has followed to (`warehouse.state`). Everything happens inside the caller's transaction.
"""

from dataclasses import dataclass
from typing import Literal

import duckdb

from student_pipeline import tables
from student_pipeline.tables import Table
from student_pipeline.warehouse import sql, state, strategies
from student_pipeline.warehouse.strategies import Written, scalar
from student_pipeline.warehouse.values import Select

MOST_CHANGED = 0.25
"""Where more than this share of a table's rows may have changed, a rebuild is no more work."""

_TEMPORARY = (
    "fresh_ids",
    "moved",
    "removed",
    "readmitted",
    "incoming",
    "stood",
    "judged",
    "affected",
    "renewed",
)


@dataclass(frozen=True)
class Outcome:
    """What was done with a table.

    Attributes:
        way: `made` where there was no table yet.
        why: one sentence for the people who watch.
        position: the table's new position; None where no row changed.
        made_by: the hash of what it is made by now.
    """

    written: Written
    way: Literal["made", "rebuilt", "merged", "unchanged"]
    why: str
    position: int | None
    made_by: str


def bring_up_to_date(
    connection: duckdb.DuckDBPyConnection, table: Table, select: Select, *, full_refresh: bool
) -> Outcome:
    """Make the table hold what the SELECT yields, with as little work as that takes.

    Raises:
        SchemaMismatch: the SELECT's columns are not those of the declaration.
    """
    made_by = state.made_by(table, select)
    reads = select.reads.values()
    positions = {read.full_name: state.position(connection, read) for read in reads}
    followed = state.watermarks(connection, table.full_name)
    stored = strategies.stored_columns(connection, table)
    why = _why_rebuild(connection, table, stored, made_by)
    if why:  # or else the table was made by this SELECT, whose columns were the declared ones
        strategies.require_columns(connection, table, select.sql)
    if full_refresh and not why:
        why = "it was asked for."
    if not why and positions == followed:
        return Outcome(Written(0), "unchanged", "Nothing new.", None, made_by)
    here = state.next_position(connection)
    merged = None
    if not why:
        why = "much of what it is made of changed."
        if not state.changed_wholly(connection, _silver(followed)):
            merge = _merge_judged if table.quarantine else _merge_groups
            merged = merge(connection, table, select, followed, here)
            for name in _TEMPORARY:
                connection.execute(f"DROP TABLE IF EXISTS temp.{name}")
    written = merged if merged is not None else _rebuild(connection, table, select, here)
    state.follow(connection, table.full_name, positions)
    if not stored:
        return Outcome(written, "made", "Made anew.", here, made_by)
    if merged is None:
        return Outcome(written, "rebuilt", f"Rebuilt whole: {why}", here, made_by)
    return Outcome(written, "merged", "What changed was merged.", here, made_by)


def _why_rebuild(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    stored: list[tuple[str, str]],
    made_by: str,
) -> str:
    """Why the stored table can't be built on; empty where it can."""
    if not stored:
        return "it was not there yet."
    if stored != [(column.name, column.type) for column in table.columns]:
        return "its columns are not as declared."
    if state.stored_made_by(connection, table) != made_by:
        return "its SELECT, a rule, its declaration or the engine changed."
    return ""


def _silver(followed: dict[str, int]) -> dict[str, int]:
    return {name: where for name, where in followed.items() if name.startswith("silver.")}


def _rebuild(
    connection: duckdb.DuckDBPyConnection, table: Table, select: Select, here: int
) -> Written:
    state.log_everything(connection, table, here)
    if table.quarantine:
        return strategies.replace_judged(connection, table, table.quarantine, select.sql)
    return strategies.replace(connection, table, select.sql)


# --- silver: rows of bronze, typed and judged -----------------------------------------------------


def _merge_judged(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    select: Select,
    followed: dict[str, int],
    here: int,
) -> Written | None:
    """Judge anew what may be judged differently now; None where that is too much.

    Those are the rows of bronze that were loaded since, and of the rows that stand in silver or in
    the quarantine: older versions of the same ids, facts of students that moved to another class,
    refused facts whose student has arrived, and the rivals of all of these. The latest version of
    an id among these is the latest of all, since what stood there was the latest before.
    """
    assert table.quarantine
    bronze = tables.TABLES[f"bronze.{table.source}"]
    new = f"{bronze.full_name} WHERE _load_id > {followed[bronze.full_name]}"
    if scalar(connection, f"SELECT count(*) FROM {new}") > _limit(connection, bronze):
        return None
    _find_what_stands(connection, table, table.quarantine, new, followed)
    if scalar(connection, "SELECT count(*) FROM removed") > _limit(connection, table):
        return None
    _make(connection, "incoming", f"SELECT * FROM {new}")
    _fetch_what_stands(connection, bronze)
    judging = select.reading(**{bronze.name: "incoming"})
    _make(connection, "judged", judging)
    if table.rivals and _remove_rivals(connection, table):
        _fetch_what_stands(connection, bronze)
        _make(connection, "judged", judging)
    _log_changes(connection, table, here)
    for stored, gone in ((table, "removed"), (table.quarantine, "readmitted")):
        connection.execute(
            f"DELETE FROM {stored.full_name} WHERE rowid IN (SELECT _row FROM {gone})"
        )
    added = strategies.insert_judged(connection, table, table.quarantine, "incoming")
    return Written(added=added, removed=scalar(connection, "SELECT count(*) FROM removed"))


def _find_what_stands(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    quarantine: Table,
    new: str,
    followed: dict[str, int],
) -> None:
    """Make `removed` and `readmitted`: the stored rows that have to be judged again.

    Args:
        new: the rows of bronze that were loaded since.
    """
    raw_id, dim = quarantine.columns[0].name, tables.DIM_STUDENT.full_name
    _make(connection, "fresh_ids", f"SELECT DISTINCT clean({raw_id}) AS id FROM {new}")
    stands = f"SELECT rowid FROM {table.full_name} WHERE"
    # Rows of other ids with the same hash are judged again as they were.
    places = f"{stands} _id_hash IN (SELECT id_hash(id) FROM fresh_ids)"
    once_more = f"clean({raw_id}) IN (FROM fresh_ids)"
    if dim in followed:
        _make(connection, "moved", state.moved_students(followed[dim]))
        if scalar(connection, "SELECT count(*) FROM moved"):
            places += f" UNION ALL {stands} student_id IN (FROM moved)"
        once_more += (
            " OR (reason = 'unknown_student' "
            f"AND clean(student_id) IN (SELECT student_id FROM {dim}))"
        )
    _make(connection, "removed", _rows_at(table, places))
    _make(
        connection,
        "readmitted",
        f"SELECT rowid AS _row, _load_id, _source_row FROM {quarantine.full_name} "
        f"WHERE reason <> 'malformed_record' AND ({once_more})",
    )


def _rows_at(table: Table, places: str) -> str:
    """The SELECT of the rows with these row ids, and the ids.

    Finding the places first reads a column of all rows, and the others of those few alone.
    """
    return f"SELECT rowid AS _row, * FROM {table.full_name} WHERE rowid IN ({places})"


def _fetch_what_stands(connection: duckdb.DuckDBPyConnection, bronze: Table) -> None:
    """Add to `incoming` the bronze rows of what stood, unless they are there.

    Where a load is large, the number of the row alone leaves few of them: that is compared first.
    """
    _make(
        connection,
        "stood",
        "SELECT _load_id, _source_row FROM removed UNION ALL "
        "SELECT _load_id, _source_row FROM readmitted "
        "EXCEPT SELECT _load_id, _source_row FROM incoming",
    )
    places = (
        f"SELECT rowid FROM {bronze.full_name} "
        "WHERE _source_row IN (SELECT _source_row FROM stood) "
        "AND (_load_id, _source_row) IN (FROM stood)"
    )
    connection.execute(
        f"INSERT INTO incoming SELECT * FROM {bronze.full_name} WHERE rowid IN ({places})"
    )


def _remove_rivals(connection: duckdb.DuckDBPyConnection, table: Table) -> bool:
    """Add to `removed` the rows that compete with what came or went; whether there are any.

    Those of students that moved are there already, and after the last day that stands in the table
    there are none: most of a morning's records are of a new day.
    """
    names = sql.names(table.rivals)
    _make(
        connection,
        "affected",
        f"SELECT {names} FROM (SELECT {names} FROM removed UNION "
        f"SELECT {names} FROM judged WHERE reason IS NULL) AS came_or_went "
        f"WHERE {table.date} <= (SELECT max({table.date}) FROM {table.full_name}) "
        "AND student_id NOT IN (FROM moved)",
    )
    places = (
        f"SELECT fact.rowid FROM {table.full_name} AS fact SEMI JOIN affected USING ({names}) "
        "WHERE fact.rowid NOT IN (SELECT _row FROM removed)"
    )
    return scalar(connection, f"INSERT INTO removed {_rows_at(table, places)}") > 0


def _log_changes(connection: duckdb.DuckDBPyConnection, table: Table, here: int) -> None:
    """Note the keys of the rows that `removed` and `judged` tell apart."""
    names = sql.names(table.followed or (column.name for column in table.contract))
    gone = f"SELECT {names} FROM removed"
    come = f"SELECT {names} FROM judged WHERE reason IS NULL"
    connection.execute(
        f"INSERT INTO ops.changes SELECT DISTINCT {sql.literal(table.full_name)}, {here}, "
        f"{table.key[0]}, student_id, class_id, {table.date or 'NULL'} "
        f"FROM (({gone} EXCEPT {come}) UNION ALL ({come} EXCEPT {gone})) AS change"
    )


# --- gold: groups of silver rows ------------------------------------------------------------------


def _merge_groups(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    select: Select,
    followed: dict[str, int],
    here: int,
) -> Written | None:
    """Compute anew the rows whose key a change names; None where that is too much.

    A change without a date (a student's) concerns every date of its class.
    """
    key, changed = sql.names(table.key), f"({state.changes(followed)}) AS changed"
    if "date" in table.key:
        affected = (
            f"SELECT {key} FROM {changed} WHERE date IS NOT NULL UNION SELECT {key} "
            f"FROM {table.full_name} WHERE class_id IN "
            f"(SELECT class_id FROM {changed} WHERE date IS NULL)"
        )
    else:
        affected = f"SELECT DISTINCT {key} FROM {changed}"
    _make(connection, "affected", affected)
    if scalar(connection, "SELECT count(*) FROM affected") > _limit(connection, table):
        return None
    restricted = {}
    for name, columns in table.read_by.items():
        same = " AND ".join(
            f"part.{column} = affected.{own}"
            for column, own in zip(columns, table.key, strict=True)
        )
        restricted[name] = (
            f"(SELECT part.* FROM {select.values[name]} AS part SEMI JOIN affected ON {same})"
        )
    _make(connection, "renewed", select.reading(**restricted))
    removed = scalar(
        connection,
        f"SELECT count(*) FROM {table.full_name} AS stored SEMI JOIN affected USING ({key})",
    )
    # Gold is sorted by key, so all of it is written.
    strategies.replace(
        connection,
        table,
        f"SELECT stored.* FROM {table.full_name} AS stored ANTI JOIN affected USING ({key}) "
        "UNION ALL BY NAME FROM renewed",
    )
    return Written(added=scalar(connection, "SELECT count(*) FROM renewed"), removed=removed)


# --- helpers --------------------------------------------------------------------------------------


def _make(connection: duckdb.DuckDBPyConnection, name: str, select: str) -> None:
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {select}")


def _limit(connection: duckdb.DuckDBPyConnection, table: Table) -> float:
    """How many rows of the table may change before a rebuild is no more work."""
    return MOST_CHANGED * strategies.count(connection, table)
