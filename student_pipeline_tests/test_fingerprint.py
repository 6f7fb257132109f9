"""A fingerprint tells tables apart, whatever the order of their rows."""

from collections.abc import Iterator

import duckdb
import pytest

from student_pipeline.fingerprint import Fingerprint, expressions, fingerprint
from student_pipeline.tables import Column, Table
from student_pipeline.warehouse.moving import WORDS

ODD = Table(
    schema="odd",
    name="things",
    description="One column of every type.",
    columns=(
        Column("id", "VARCHAR", "The key"),
        Column("date", "DATE", "A name that is a type, too"),
        Column("small", "INTEGER", ""),
        Column("big", "BIGINT", ""),
        Column("yes", "BOOLEAN", ""),
        Column("number", "DOUBLE", ""),
        Column("moment", "TIMESTAMPTZ", ""),
        Column("extra", "JSON", ""),
        Column("text", "VARCHAR", ""),
        Column("_id_hash", "INTEGER", "Of the engine"),
    ),
    key=("id",),
    strategy="replace",
)

ROWS = [
    ("a", "2026-05-04", -1, 2**62, True, 33.33, "2026-05-04T08:00:00.000001Z", '{"a": "ü"}', "x"),
    ("b", "0001-01-01", 99, -(2**62), False, 0.1, "0001-01-01T00:00:00Z", None, "x = y"),
    ("c", "9999-12-31", 0, 0, None, 1e300, "9999-12-31T23:59:59.999999Z", "{}", "ß 🤦🏼 \u2028\n"),
    ("d", "1582-10-10", 1, 1, True, 5e-324, "1969-12-31T23:59:59.9Z", '""', "\\'\"`$;--"),
    ("e", None, None, None, None, None, None, None, None),
    ("f", "2000-02-29", 7, 7, False, -0.0, "1900-01-01T00:00:00Z", "[1]", ""),
    ("g", "1969-12-31", 7, 7, False, -123456.789, "2026-01-01T00:00:00Z", "[1]", "7"),
    ("h", "1970-01-01", 7, 7, False, 1e9, "2026-01-01T00:00:00Z", "[1]", "7"),
    ("i", "1970-01-02", 7, 7, False, 1e18, "2026-01-01T00:00:00Z", "[1]", "\u00a07"),
    ("j", "1970-01-02", 7, 7, False, 1.7976931348623157e308, "2026-01-01T00:00:00Z", "[1]", "7"),
    ("k", "1970-01-02", 7, 7, False, 999999999.9999999, "2026-01-01T00:00:00Z", "[1]", "7"),
    ("", "1970-01-02", 7, 7, False, 0.005, "2026-01-01T00:00:00Z", "[1]", "7"),
    (None, "1970-01-02", 7, 7, False, 123456789012.75, "2026-01-01T00:00:00Z", "[1]", "7"),
]
"""Whatever engines may write in different ways."""

CHANGES = {
    "id": "'z'",
    "date": "DATE '2026-05-05'",
    "small": "-2",
    "big": "big - 1",
    "yes": "NULL",
    "number": "33.330001",
    "moment": "moment + INTERVAL 1 MICROSECOND",
    "extra": """'{"a":"ü"}'""",
    "text": "'x '",
}
"""Column -> another value for the row a."""


def fill(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table with the odd rows."""
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("CREATE SCHEMA IF NOT EXISTS odd")
    connection.execute(ODD.ddl())
    for number, row in enumerate(ROWS):
        connection.execute(
            f"INSERT INTO odd.things VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, {number})", list(row)
        )


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        fill(connection)
        yield connection


def taken(connection: duckdb.DuckDBPyConnection, relation: str = "odd.things") -> Fingerprint:
    select = f"SELECT {', '.join(expressions(ODD, WORDS))} FROM {relation}"
    return fingerprint(ODD, connection.execute(select).fetchall()[0])


def test_the_order_of_rows_and_what_engines_compute_do_not_count(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    before = taken(connection)
    assert before.rows == len(ROWS)
    connection.execute(
        "CREATE TABLE turned AS SELECT * REPLACE (_id_hash + 1 AS _id_hash) FROM odd.things "
        "ORDER BY text DESC, number"
    )
    assert taken(connection, "turned") == before


@pytest.mark.parametrize("column", CHANGES)
def test_a_cell_that_changed_is_told(connection: duckdb.DuckDBPyConnection, column: str) -> None:
    before = taken(connection)
    connection.execute(f"UPDATE odd.things SET {column} = {CHANGES[column]} WHERE id = 'a'")
    after = taken(connection)
    assert str(after) != str(before)
    # A key ties all cells of its row to it.
    expected = list(CHANGES) if column == "id" else [column]
    assert after.differences(before) == expected


def test_cells_that_rows_swapped_are_told(connection: duckdb.DuckDBPyConnection) -> None:
    before = taken(connection)
    connection.execute(
        "UPDATE odd.things SET text = CASE id WHEN 'a' THEN 'x = y' ELSE 'x' END "
        "WHERE id IN ('a', 'b')"
    )
    assert taken(connection).differences(before) == ["text"]


def test_a_row_that_stands_twice_is_told(connection: duckdb.DuckDBPyConnection) -> None:
    before = taken(connection)
    connection.execute("INSERT INTO odd.things SELECT * FROM odd.things WHERE id = 'e'")
    after = taken(connection)
    assert after.rows == before.rows + 1
    assert after.differences(before) == ["id"]  # all others are null in that row


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.1", "0.100001"),
        ("1e9", "1e9 + 1"),
        ("1e18", "1e18 * 1.0000001"),
        ("1e300", "1.0000001e300"),
        ("1", "-1"),
        ("1e308", "'inf'"),
        ("0", "NULL"),
    ],
)
def test_numbers_are_told_apart(
    connection: duckdb.DuckDBPyConnection, one: str, other: str
) -> None:
    found = []
    for number in (one, other):
        connection.execute(f"UPDATE odd.things SET number = {number} WHERE id = 'a'")
        found.append(taken(connection))
    assert found[0].differences(found[1]) == ["number"]


def test_a_table_without_rows_has_a_fingerprint(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("DELETE FROM odd.things")
    assert taken(connection) == Fingerprint(0, dict.fromkeys(CHANGES, 0))
