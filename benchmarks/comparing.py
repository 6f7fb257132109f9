"""Whether two contestants built the same gold tables."""

from pathlib import Path

import duckdb

from student_pipeline import tables
from student_pipeline.tables import Table
from student_pipeline.warehouse import sql

SCORE_TOLERANCE = 0.011
"""Scores may differ in the last digit: not everybody sums whole hundredths before rounding."""

RATE_TOLERANCE = 1e-9
"""Rates may differ in the last bits: some divide by multiplying with the reciprocal."""


class Differing(Exception):
    """The gold tables of two contestants differ; the message says where."""


def require_same_gold(ours: Path, theirs: Path) -> None:
    """Compare the gold tables in two output folders, all rows of all columns of the contract.

    A folder holds `warehouse.duckdb` with the schema `gold`, or `gold/<table>.parquet`.

    Raises:
        Differing: a table or column is missing, or rows differ.
    """
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for table in tables.GOLD:
            ours_from = _relation(connection, "ours", ours, table)
            theirs_from = _relation(connection, "theirs", theirs, table)
            _require_columns(connection, theirs_from, table, theirs)
            _require_same_rows(connection, ours_from, theirs_from, table, theirs)


def _relation(connection: duckdb.DuckDBPyConnection, name: str, output: Path, table: Table) -> str:
    """What stands behind FROM."""
    warehouse, file = output / "warehouse.duckdb", output / "gold" / f"{table.name}.parquet"
    if file.exists():
        return f"read_parquet({sql.literal(str(file))})"
    if not warehouse.exists():
        raise Differing(f"There is no gold table in {output}: no {file.name}, no {warehouse.name}.")
    connection.execute(f"ATTACH IF NOT EXISTS {sql.literal(str(warehouse))} AS {name} (READ_ONLY)")
    return f"{name}.{table.full_name}"


def _require_columns(
    connection: duckdb.DuckDBPyConnection, relation: str, table: Table, output: Path
) -> None:
    found = {row[0] for row in connection.execute(f"DESCRIBE FROM {relation}").fetchall()}
    missing = [column.name for column in table.contract if column.name not in found]
    if missing:
        raise Differing(f"{table.full_name} in {output} has no column {', '.join(missing)}.")


def _require_same_rows(
    connection: duckdb.DuckDBPyConnection, ours: str, theirs: str, table: Table, output: Path
) -> None:
    types = {column.name: column.type for column in table.contract}
    cast = ", ".join(f"CAST({name} AS {type_}) AS {name}" for name, type_ in types.items())
    compared = [name for name in types if name not in table.key]
    unequal = {name: _unequal(name, types[name]) for name in compared}
    one_side = f"(a.{table.key[0]} IS NULL) <> (b.{table.key[0]} IS NULL)"
    on = " AND ".join(f"a.{name} = b.{name}" for name in table.key)
    key = " || ' ' || ".join(f"CAST(coalesce(a.{k}, b.{k}) AS VARCHAR)" for k in table.key)
    counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in unequal.values())
    row = connection.execute(
        f"SELECT (SELECT count(*) FROM {ours}), (SELECT count(*) FROM {theirs}), count(*), "
        f"count(*) FILTER (WHERE {one_side}), "
        f"min({key}) FILTER (WHERE {one_side} OR {' OR '.join(unequal.values())}), {counts} "
        f"FROM (SELECT {cast} FROM {ours}) AS a FULL JOIN (SELECT {cast} FROM {theirs}) AS b ON {on}"
    ).fetchone()
    assert row
    ours_rows, theirs_rows, pairs, alone, example, *differing = row
    if alone or not ours_rows == theirs_rows == pairs:
        why = f"{alone:,} have no counterpart, such as {example}" if alone else "some stand twice"
        raise Differing(
            f"{table.full_name} in {output} has {theirs_rows:,} rows, expected {ours_rows:,}; {why}."
        )
    columns = [f"{name} ({n:,} rows)" for name, n in zip(unequal, differing, strict=True) if n]
    if columns:
        raise Differing(
            f"{table.full_name} in {output} differs in {', '.join(columns)}, such as {example}."
        )


def _unequal(name: str, type_name: str) -> str:
    if type_name != "DOUBLE":
        return f"a.{name} IS DISTINCT FROM b.{name}"
    tolerance = SCORE_TOLERANCE if name.endswith("score") else RATE_TOLERANCE
    return f"((a.{name} IS NULL) <> (b.{name} IS NULL) OR abs(a.{name} - b.{name}) > {tolerance})"
