"""The gold tables as files: Parquet, CSV, and both together as one DuckDB file."""

from pathlib import Path

import duckdb

from student_pipeline.tables import Column, Table
from student_pipeline.warehouse import sql

GUARDED = "'=+-@\t\r\n＝＋－＠"
"""A text of a CSV file that begins with one of these gets an apostrophe in front.

A spreadsheet would run all but the first as a formula. The apostrophe is one of them so that
exactly one can be taken off again.
"""

STORAGE_VERSION = "v1.0.0"
"""`gold.duckdb` can be read by every DuckDB from this version on."""


def write_parquet(connection: duckdb.DuckDBPyConnection, table: Table, path: Path) -> None:
    """Write a table, sorted by key, with exact values."""
    select = _select(table, [sql.identifier(column.name) for column in table.contract])
    _copy(connection, select, path, "FORMAT parquet, COMPRESSION zstd")


def write_csv(
    connection: duckdb.DuckDBPyConnection, table: Table, path: Path, *, guarded: bool
) -> None:
    """Write a table, sorted by key, as RFC 4180 has it, in UTF-8.

    A null is an empty field, a date is ISO 8601, a truth value is `true` or `false`.

    Args:
        guarded: texts that a spreadsheet would take for a formula get an apostrophe in front.
    """
    expressions = [
        _guarded(column) if guarded and column.type == "VARCHAR" else sql.identifier(column.name)
        for column in table.contract
    ]
    options = "FORMAT csv, HEADER true, DELIMITER ',', QUOTE '\"', NULLSTR '', NEW_LINE '\\r\\n'"
    _copy(connection, _select(table, expressions), path, options)


def write_duckdb(
    connection: duckdb.DuckDBPyConnection, tables: tuple[Table, ...], path: Path
) -> None:
    """Write tables, sorted by key and with comments, into the main schema of a new DuckDB file."""
    connection.execute(
        f"ATTACH {sql.literal(str(path))} AS published (STORAGE_VERSION '{STORAGE_VERSION}')"
    )
    try:
        for table in tables:
            name = f"published.main.{sql.identifier(table.name)}"
            columns = [sql.identifier(column.name) for column in table.contract]
            connection.execute(f"CREATE TABLE {name} AS {_select(table, columns)}")
            connection.execute(f"COMMENT ON TABLE {name} IS {sql.literal(table.description)}")
            for column, quoted in zip(table.contract, columns, strict=True):
                meaning = sql.literal(column.description)
                connection.execute(f"COMMENT ON COLUMN {name}.{quoted} IS {meaning}")
    finally:
        connection.execute("DETACH published")  # and writes all of it into the one file


def _select(table: Table, expressions: list[str]) -> str:
    # Whoever writes such a table sorts it (`strategies.replace`), and DuckDB reads it in that order.
    assert table.order_by == table.key
    return f"SELECT {', '.join(expressions)} FROM {table.full_name}"


def _guarded(column: Column) -> str:
    name = sql.identifier(column.name)
    return (
        f"CASE WHEN contains({sql.literal(GUARDED)}, {name}[1]) AND {name} <> '' "
        f"THEN '''' || {name} ELSE {name} END AS {name}"
    )


def _copy(connection: duckdb.DuckDBPyConnection, select: str, path: Path, options: str) -> None:
    # The draft is renamed by us, when all files are there.
    connection.execute(
        f"COPY ({select}) TO {sql.literal(str(path))} ({options}, USE_TMP_FILE false)"
    )
