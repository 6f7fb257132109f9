"""How far every table has come, and how far its readers have followed.

A table's *position* is a number that grows whenever its rows change. A *reader* (a table, or the
checks of one) notes the positions of what it read; while they are the same, it has nothing to do.
What changed between two positions of a silver table stands in `ops.changes`.

Every function runs inside the caller's transaction.
"""

import hashlib
from collections.abc import Mapping

import duckdb

from student_pipeline.tables import Table
from student_pipeline.warehouse import sql
from student_pipeline.warehouse.strategies import count, detail_of, scalar
from student_pipeline.warehouse.values import Select


def made_by(table: Table, select: Select) -> str:
    """A hash of all that decides what the table holds, beside the rows that it reads."""
    parts = [select.sql, sql.macros(), table.ddl(), duckdb.__version__]
    if table.quarantine:
        parts += [table.quarantine.ddl(), detail_of(table.quarantine)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def position(connection: duckdb.DuckDBPyConnection, table: Table) -> int:
    """The table's position; 0 where it was never written. In bronze it is the newest load."""
    if table.schema == "bronze":
        return scalar(connection, f"SELECT coalesce(max(_load_id), 0) FROM {table.full_name}")
    return scalar(
        connection,
        "SELECT coalesce(max(position), 0) FROM ops.table_state WHERE table_name = ?",
        [table.full_name],
    )


def next_position(connection: duckdb.DuckDBPyConnection) -> int:
    """A position above that of every table."""
    return scalar(connection, "SELECT coalesce(max(position), 0) + 1 FROM ops.table_state")


def stored_made_by(connection: duckdb.DuckDBPyConnection, table: Table) -> str | None:
    """The hash under which the table was last written; None where it never was."""
    row = connection.execute(
        "SELECT made_by FROM ops.table_state WHERE table_name = ?", [table.full_name]
    ).fetchone()
    return row[0] if row else None


def watermarks(connection: duckdb.DuckDBPyConnection, reader: str) -> dict[str, int]:
    """Table -> the position that the reader has followed to."""
    rows = connection.execute(
        "SELECT table_name, position FROM ops.watermarks WHERE reader = ?", [reader]
    ).fetchall()
    return dict(rows)


def follow(
    connection: duckdb.DuckDBPyConnection, reader: str, positions: Mapping[str, int]
) -> None:
    """Note how far the reader has come, and forget the changes that every reader has followed."""
    connection.execute("DELETE FROM ops.watermarks WHERE reader = ?", [reader])
    connection.execute(
        "INSERT INTO ops.watermarks SELECT ?, unnest(?), unnest(?)",
        [reader, list(positions), list(positions.values())],
    )
    connection.execute(
        "DELETE FROM ops.changes AS change USING (SELECT table_name, min(position) AS position "
        "FROM ops.watermarks GROUP BY table_name) AS slowest "
        "WHERE change.table_name = slowest.table_name AND change.position <= slowest.position"
    )


def changes(since: Mapping[str, int], among: str = "ops.changes") -> str:
    """The SELECT of what changed in these tables above these positions.

    Args:
        among: the table of changes.
    """
    above = " OR ".join(
        f"(table_name = {sql.literal(name)} AND position > {where})"
        for name, where in since.items()
    )
    return f"SELECT * FROM {among} WHERE {above or 'false'}"


def moved_students(since: int, among: str = "ops.changes") -> str:
    """The SELECT of the students that are in another class than at that position."""
    return (
        f"SELECT student_id FROM ({changes({'silver.dim_student': since}, among)}) AS change "
        "GROUP BY student_id HAVING count(DISTINCT class_id) > 1"
    )


def log_everything(connection: duckdb.DuckDBPyConnection, table: Table, where: int) -> None:
    """Note that any row of the table may have changed."""
    connection.execute("DELETE FROM ops.changes WHERE table_name = ?", [table.full_name])
    connection.execute(
        "INSERT INTO ops.changes (table_name, position) VALUES (?, ?)", [table.full_name, where]
    )


def changed_wholly(connection: duckdb.DuckDBPyConnection, since: Mapping[str, int]) -> bool:
    """Whether one of these tables was rebuilt above its position."""
    return scalar(connection, f"SELECT count(*) FROM ({changes(since)}) WHERE id IS NULL") > 0


def record(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    run_id: str,
    where: int | None = None,
    made: str | None = None,
) -> int:
    """Note in `ops.table_state` what a write left; return the table's row count.

    Args:
        where: the table's new position; None where no row changed.
        made: the hash of what it is made by, of a merged table.
    """
    rows = count(connection, table)
    before = connection.execute(
        "SELECT row_count, ever_had_rows, position FROM ops.table_state WHERE table_name = ?",
        [table.full_name],
    ).fetchone()
    previous, had_rows, stood = before or (None, False, 0)
    connection.execute("DELETE FROM ops.table_state WHERE table_name = ?", [table.full_name])
    connection.execute(
        "INSERT INTO ops.table_state VALUES (?, ?, ?, ?, ?, now(), ?, ?)",
        [
            table.full_name,
            rows,
            previous,
            had_rows or rows > 0,
            run_id,
            where if where is not None else stood or 0,
            made,
        ],
    )
    return rows
