"""How rows get written. Every function runs inside the caller's transaction.

`incoming` is always a SELECT that yields the table's columns by name, in any order.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from student_pipeline.tables import DETAILS, Table
from student_pipeline.warehouse import sql
from student_pipeline.warehouse.sql import scalar

_MOST_RANGES = 20
"""Of more ranges of `created_at` none is looked at."""


class SchemaMismatch(Exception):
    """What shall be written has other columns than the table's declaration."""


@dataclass(frozen=True)
class Written:
    """What a write changed, in rows. A replaced row counts as added and as removed."""

    added: int
    removed: int = 0


def write(connection: duckdb.DuckDBPyConnection, table: Table, incoming: str) -> Written:
    """Write `incoming` by the table's declared strategy; it replaces all of a merged table.

    Raises:
        SchemaMismatch: `incoming` lacks a declared column or has one that is not declared.
        duckdb.Error: a value does not fit its column's type.
    """
    require_columns(connection, table, incoming)
    if table.quarantine:
        return replace_judged(connection, table, table.quarantine, incoming)
    if table.strategy == "append":
        return _append(connection, table, incoming)
    if table.strategy == "upsert":
        return _upsert(connection, table, incoming)
    return replace(connection, table, incoming)


def ensure_table(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Create the table as declared when it is missing; carry its rows over when columns changed."""
    _ensure(connection, table, stored_columns(connection, table))


def ensure_tables(
    connection: duckdb.DuckDBPyConnection, schema: str, tables: Sequence[Table]
) -> None:
    """The same for tables of one schema; the catalog is read once."""
    stored = _catalog(connection, schema)
    for table in tables:
        _ensure(connection, table, stored.get(table.name, []))


def _ensure(
    connection: duckdb.DuckDBPyConnection, table: Table, stored: list[tuple[str, str]]
) -> None:
    declared = [(column.name, column.type) for column in table.columns]
    if stored == declared:
        return
    if not stored:
        connection.execute(table.ddl())
        return
    common = sql.names(name for name, _ in stored if name in table.column_names)
    _renew(connection, table, f"SELECT {common} FROM {table.full_name}")


def _renew(connection: duckdb.DuckDBPyConnection, table: Table, rows: str) -> None:
    """Put a table of these rows, which may be read from the stored one, in that one's place."""
    new = f"{table.schema}._{table.name}_new"
    connection.execute(table.ddl(new))
    connection.execute(f"INSERT INTO {new} BY NAME {rows}")
    connection.execute(f"DROP TABLE IF EXISTS {table.full_name}")
    connection.execute(f"ALTER TABLE {new} RENAME TO {table.name}")


def stored_columns(connection: duckdb.DuckDBPyConnection, table: Table) -> list[tuple[str, str]]:
    """(name, type) of the stored table's columns in order, types as declarations write them."""
    return _catalog(connection, table.schema).get(table.name, [])


def _catalog(
    connection: duckdb.DuckDBPyConnection, schema: str
) -> dict[str, list[tuple[str, str]]]:
    """Table -> (name, type) of its columns, of the stored tables of a schema."""
    of_cluster = getattr(connection, "stored_columns", None)
    if of_cluster:
        return of_cluster(schema)
    rows = connection.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = current_database() AND schema_name = ? "
        "ORDER BY table_name, column_index",
        [schema],
    ).fetchall()
    found: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in rows:
        type_ = "TIMESTAMPTZ" if kind.startswith("TIMESTAMP W") else kind
        found.setdefault(table, []).append((column, type_))
    return found


def count(connection: duckdb.DuckDBPyConnection, table: Table, where: str = "true") -> int:
    """Rows of the stored table, those that meet a condition if one is given."""
    return scalar(connection, f"SELECT count(*) FROM {table.full_name} WHERE {where}")


def require_columns(connection: duckdb.DuckDBPyConnection, table: Table, incoming: str) -> None:
    """Raise `SchemaMismatch` unless `incoming` yields the declared columns.

    Beside them comes the `reason` for which a row is refused, where the table has a quarantine.
    """
    found = [row[0] for row in connection.execute(f"DESCRIBE {incoming}").fetchall()]
    require_same_columns(table, found)


def require_same_columns(table: Table, found: Sequence[str]) -> None:
    """Raise `SchemaMismatch` unless the columns of what shall be written are those declared."""
    expected = (*table.column_names, "reason") if table.quarantine else table.column_names
    extra = [name for name in found if name not in expected]
    missing = [name for name in expected if name not in found]
    if extra or missing:
        problems = [f"unexpected: {', '.join(extra)}"] if extra else []
        problems += [f"missing: {', '.join(missing)}"] if missing else []
        raise SchemaMismatch(
            f"The columns for {table.full_name} differ from its declaration ({'; '.join(problems)}). "
            "Nothing was written."
        )


def replace(connection: duckdb.DuckDBPyConnection, table: Table, incoming: str) -> Written:
    """The table holds what `incoming` yields, sorted as declared."""
    before = count(connection, table) if stored_columns(connection, table) else 0
    order = f" ORDER BY {sql.names(table.order_by)}" if table.order_by else ""
    _renew(connection, table, f"SELECT * FROM ({incoming}) AS incoming{order}")
    return Written(added=count(connection, table), removed=before)


def replace_judged(
    connection: duckdb.DuckDBPyConnection, table: Table, quarantine: Table, incoming: str
) -> Written:
    """The accepted rows become the table, the refused ones the quarantine, in one pass.

    `incoming` yields the table's columns and `reason`, null for accepted rows. Malformed records
    never reached bronze: the quarantine keeps those as the load left them.
    """
    before = count(connection, table) if stored_columns(connection, table) else 0
    connection.execute(f"CREATE OR REPLACE TEMP TABLE judged AS {incoming}")
    connection.execute(table.ddl())
    ensure_table(connection, quarantine)
    connection.execute(f"DELETE FROM {quarantine.full_name} WHERE reason <> 'malformed_record'")
    added = insert_judged(connection, table, quarantine, f"bronze.{table.source}")
    connection.execute("DROP TABLE judged")
    return Written(added=added, removed=before)


def insert_judged(
    connection: duckdb.DuckDBPyConnection, table: Table, quarantine: Table, bronze: str
) -> int:
    """Add the accepted rows of `judged` to the table, the refused ones to the quarantine.

    Args:
        bronze: the relation that holds the rows of bronze that were judged.

    Returns: how many were accepted.
    """
    connection.execute(
        f"INSERT INTO {quarantine.full_name} BY NAME SELECT "
        + sql.names(
            (name for name in quarantine.column_names if name not in ("reason", "detail", "_raw")),
            "bronze",
        )
        + f", judged.reason, {detail_of(quarantine)} AS detail FROM judged "
        f"JOIN {bronze} AS bronze USING (_load_id, _source_row) "
        "WHERE judged.reason IS NOT NULL ORDER BY _load_id, _source_row"
    )
    return scalar(
        connection,
        f"INSERT INTO {table.full_name} BY NAME "
        f"SELECT {sql.names(table.column_names)} FROM judged WHERE reason IS NULL",
    )


def detail_of(quarantine: Table) -> str:
    """The SQL of the sentence that tells why a row was refused, with the value as it came."""
    sentences = []
    for reason, sentence in DETAILS.items():
        pieces = re.split(r"\{(\w+)\}", sentence)
        columns = [quarantine.columns[0].name if name == "id" else name for name in pieces[1::2]]
        if all(name in quarantine.column_names for name in columns):
            pieces[1::2] = (f"found(bronze.{sql.identifier(name)})" for name in columns)
            pieces[::2] = map(sql.literal, pieces[::2])
            sentences.append(f"WHEN {sql.literal(reason)} THEN {' || '.join(pieces)}")
    return f"CASE judged.reason {' '.join(sentences)} END"


def _identity(table: Table) -> tuple[str, ...]:
    """The columns that make two delivered rows the same: all that the file held."""
    return tuple(name for name in table.column_names if name == "_extra" or name[0] != "_")


def _append(connection: duckdb.DuckDBPyConnection, table: Table, incoming: str) -> Written:
    """Add the rows that are not there yet, identical ones once: the first by `_source_row`."""
    ensure_table(connection, table)
    before = count(connection, table)
    identity = sql.names(_identity(table))
    # Twins share a hash; only the few rows whose hash stands twice are compared in full. Sorted hashes
    # show that faster than counted ones.
    twins = (
        "SELECT number FROM (SELECT number, lag(number) OVER (ORDER BY number) AS before "
        f"FROM (SELECT hash({identity}) AS number FROM ({incoming}) AS incoming)) "
        "WHERE number = before"
    )
    repeated = (
        f"SELECT _source_row FROM (SELECT _source_row, row_number() OVER "
        f"(PARTITION BY {identity} ORDER BY _source_row) AS copy FROM ({incoming}) AS incoming "
        f"WHERE hash({identity}) IN ({twins})) AS twin WHERE copy > 1"
    )
    new = f"SELECT * FROM ({incoming}) AS incoming WHERE _source_row NOT IN ({repeated})"
    if before:
        first = sql.identifier(_identity(table)[0])
        same = " AND ".join(
            f"stored.{sql.identifier(name)} IS NOT DISTINCT FROM incoming.{sql.identifier(name)}"
            for name in _identity(table)
        )
        # A column of all rows is read for the places of these ids, and the others there alone.
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE places AS SELECT rowid AS place FROM {table.full_name} "
            f"WHERE {_made_at_the_same_time(connection, table, incoming)} "
            f"AND coalesce({first}, '') IN "
            f"(SELECT coalesce({first}, '') FROM ({incoming}) AS incoming)"
        )
        candidates = (
            f"SELECT {identity} FROM {table.full_name} WHERE rowid IN (SELECT place FROM places)"
        )
        new += f" AND NOT EXISTS (SELECT 1 FROM ({candidates}) AS stored WHERE {same})"
    connection.execute(f"INSERT INTO {table.full_name} BY NAME {new}")
    connection.execute("DROP TABLE IF EXISTS temp.places")
    return Written(added=count(connection, table) - before)


def _made_at_the_same_time(
    connection: duckdb.DuckDBPyConnection, table: Table, incoming: str
) -> str:
    """The condition of stored rows whose `created_at` lies where those of `incoming` do, as text.

    A row that is identical to one of these meets it. DuckDB knows the first and last text of each
    122,880 stored rows and passes over those that were made in other months: most of what stands there
    when a day's records come. Texts of different beginnings are apart, so that one that is written
    otherwise than the others takes nothing from that.
    """
    if "created_at" not in table.column_names:
        return "true"
    ranges = connection.execute(
        "SELECT min(text), max(text) FROM "
        f"(SELECT created_at::VARCHAR AS text FROM ({incoming}) AS incoming) "
        f"GROUP BY left(text, {len('2026-01')}) LIMIT {_MOST_RANGES + 1}"
    ).fetchall()
    if not 0 < len(ranges) <= _MOST_RANGES:
        return "true"
    conditions = [
        "created_at IS NULL"
        if first is None
        else f"created_at BETWEEN {sql.literal(first)} AND {sql.literal(last)}"
        for first, last in ranges
    ]
    return f"({' OR '.join(conditions)})"


def _upsert(connection: duckdb.DuckDBPyConnection, table: Table, incoming: str) -> Written:
    """One row per student id, the roster's rule: an incoming row replaces the stored one.

    Unless it is older by `updated_at`, or identical. Rows without an id are kept, identical ones
    once. Within `incoming` the latest row of an id counts, then the last.
    """
    ensure_table(connection, table)
    identity = sql.names(_identity(table))
    same = " AND ".join(
        f"stored.{sql.identifier(name)} IS NOT DISTINCT FROM came.{sql.identifier(name)}"
        for name in _identity(table)
    )
    # Most ids of a roster have no row but the stored one; their rows are not typed.
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE latest AS
        WITH differing AS (
            SELECT clean(student_id) AS _id FROM ({incoming}) AS came
            WHERE NOT EXISTS (SELECT 1 FROM {table.full_name} AS stored WHERE {same})),
        typed AS MATERIALIZED (
            SELECT incoming.*, clean(student_id) AS _id, instant(clean(updated_at)) AS _version
            FROM ({incoming}) AS incoming
            WHERE coalesce(clean(student_id), '') IN (SELECT coalesce(_id, '') FROM differing))
        SELECT * FROM typed WHERE _id IS NULL
        QUALIFY row_number() OVER (PARTITION BY {identity} ORDER BY _source_row) = 1
        UNION ALL
        SELECT * FROM typed WHERE _id IS NOT NULL
        QUALIFY row_number() OVER (
            PARTITION BY _id ORDER BY _version DESC NULLS LAST, _source_row DESC) = 1
        """
    )
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE standing AS
        SELECT rowid AS _row, clean(student_id) AS _id, updated_at FROM {table.full_name}
        WHERE clean(student_id) IN (SELECT _id FROM latest)
        """
    )
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE incoming_new AS
        SELECT came.* FROM latest AS came
        WHERE NOT EXISTS (SELECT 1 FROM {table.full_name} AS stored WHERE {same})
        AND NOT EXISTS (
            SELECT 1 FROM standing
            WHERE standing._id = came._id AND came._version < instant(clean(standing.updated_at)))
        """
    )
    removed = scalar(
        connection,
        f"DELETE FROM {table.full_name} WHERE rowid IN "
        "(SELECT _row FROM standing WHERE _id IN (SELECT _id FROM incoming_new))",
    )
    added = scalar(
        connection,
        f"INSERT INTO {table.full_name} BY NAME "
        f"SELECT {sql.names(table.column_names)} FROM incoming_new",
    )
    for name in ("latest", "standing", "incoming_new"):
        connection.execute(f"DROP TABLE {name}")
    return Written(added=added, removed=removed)
