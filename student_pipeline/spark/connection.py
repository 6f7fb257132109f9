"""What the code calls a connection, on a cluster.

It has the few methods of DuckDB's that callers use. A statement that names only the pipeline's books
(`ops.*`: the ledger, positions, warnings; all small) runs in a DuckDB in memory, which is written into
the warehouse at every commit. Any other is a SELECT; it is translated and runs on the cluster.
"""

from __future__ import annotations

import re
import tempfile
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from student_pipeline.spark.dialect import to_spark
from student_pipeline.spark.session import ClusterError, NotMade, told_as_ours
from student_pipeline.spark.store import SCRATCH, Catalog, Store, StoreError
from student_pipeline.tables import CHANGES, LATEST_ROSTER, OPS, SOURCE_FILES, TABLES, Column, Table
from student_pipeline.warehouse import sql

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame
    from pyspark.sql.connect.session import SparkSession

BOOKS = {table.full_name: table for table in OPS}
"""The tables that are kept in memory. Of `ops.changes` only the marks of tables that were rebuilt."""

KEYS_CHANGED = Table(
    schema="ops",
    name="keys_changed",
    description="The keys of silver rows that came, went or changed: `ops.changes` on a cluster.",
    columns=CHANGES.columns,
    strategy="append",
)

ON_CLUSTER = {table.full_name: table for table in (*TABLES.values(), LATEST_ROSTER, KEYS_CHANGED)}
"""The tables that the cluster keeps."""

SPARK_TYPES = {
    "VARCHAR": "string",
    "JSON": "string",
    "BIGINT": "bigint",
    "INTEGER": "int",
    "DOUBLE": "double",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIMESTAMPTZ": "timestamp",
}

ROWS = "rows"
"""The label of the only part of a table whose rows have no date."""

MOST_FOLDERS = 32
"""A part that has grown to more folders than this becomes one: a day adds one at least."""

_KNOWN = "|".join(re.escape(name) for name in (*BOOKS, *ON_CLUSTER))
_NAMES = re.compile(rf"('(?:[^']|'')*'|--[^\n]*)|(?<![\w.])({_KNOWN})(?!\w)")
"""A text or a comment, in which no name is looked for; or the name of a table."""


class Rows:
    """The result of a statement, as DuckDB gives it."""

    def __init__(self, found: pa.Table) -> None:
        self.description = [(name,) for name in found.column_names]
        self._rows = list(zip(*(column.to_pylist() for column in found.columns), strict=True))

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[tuple[Any, ...]]:
        rows, self._rows = self._rows, []
        return rows


class SparkConnection:
    """A session on the cluster, the tables in force there, and the books."""

    def __init__(self, session: SparkSession, store: Store) -> None:
        """Look at what is in force.

        Raises:
            StoreError: the warehouse can't be read.
        """
        self.session = session
        self.store = store
        self.catalog = store.read() or Catalog()
        self.found = self.catalog.folders()
        if not self.is_made(KEYS_CHANGED):  # no engine but this one has it
            self.set_parts(KEYS_CHANGED, {})
        self._before: Catalog | None = None
        self._viewed: dict[str, object] = {}
        self._scratch = f"{SCRATCH}/{uuid.uuid4().hex[:12]}"
        self.books = duckdb.connect()
        self.books.execute("SET TimeZone = 'UTC'")
        self.books.execute("SET autoinstall_known_extensions = false")
        self.books.execute("CREATE SCHEMA ops")
        for table in OPS:
            self.books.execute(table.ddl())
        self._read_books()

    # --- what callers of DuckDB's connection use --------------------------------------------------

    def execute(self, query: str, parameters: object = None) -> Any:
        """Run a statement on the books, or a SELECT on the cluster; the result has `fetchall`."""
        names = _tables_in(query)
        if names <= BOOKS.keys():
            return self.books.execute(query, parameters)
        if parameters:
            raise ClusterError(f"A statement on the cluster takes no parameters: {query}")
        return Rows(self.arrow(query))

    def begin(self) -> None:
        self.books.begin()
        self._before = self.catalog

    def commit(self) -> None:
        """Write the books, then the pointer: from then on all of it is in force.

        Where that fails, nothing is, and the connection must not be used again.
        """
        self._forget_followed_keys()
        assert self._before is not None
        version = self._before.version + 1
        self.catalog = replace(
            self.catalog, version=version, books=self.store.new_folder("ops", version)
        )
        self._write_books(self.catalog.books)
        self.store.write(self.catalog)
        self.books.commit()
        self._before = None

    def rollback(self) -> None:
        if self._before is not None:
            self.catalog, self._before = self._before, None
            self.books.rollback()

    def complete(self) -> None:
        """Nothing: results are read whole at once."""

    def close(self) -> None:
        """Let go of the books; who opened the session ends it. What is in force stays."""
        self.books.close()

    def sweep(self) -> None:
        """Remove what neither the tables in force nor those from before this connection are made of.

        Who began to read before a run may still read what stood then.

        Raises:
            OSError: something can't be removed, most likely because the cluster writes as another
                user.
        """
        self.store.sweep((*ON_CLUSTER, "ops"), self.catalog.folders() | self.found)

    def stored_columns(self, schema: str) -> dict[str, list[tuple[str, str]]]:
        """Table -> (name, type) of its columns as they lie there, types as declarations write them."""
        found = {}
        for name, parts in self.catalog.tables.items():
            table = ON_CLUSTER[name]
            if table.schema == schema:
                folders = [folder for folders in parts.values() for folder in folders]
                found[table.name] = self._columns_in(table, folders[-1] if folders else "")
        if schema == "ops":
            found |= {
                table.name: [(column.name, column.type) for column in table.columns]
                for table in OPS
            }
        return found

    def _columns_in(self, table: Table, folder: str) -> list[tuple[str, str]]:
        declared = [(column.name, column.type) for column in table.columns]
        if not folder:
            return list(declared)
        with told_as_ours():
            kinds = dict(self.session.read.parquet(self.store.for_cluster(folder)).dtypes)
        kept = {name: kind for name, kind in declared if SPARK_TYPES[kind] == kinds.get(name)}
        return [
            (name, kept.get(name, kinds[name].upper()))
            for name in kinds
            if name in kept or name in table.column_names or not _is_ours(table, name)
        ]

    # --- what the modules of this package use -----------------------------------------------------

    def frame(self, query: str) -> DataFrame:
        """A SELECT, in our SQL, as a frame on the cluster: nothing is computed yet.

        Raises:
            NotMade: it reads a table that was never written.
        """
        for name in _tables_in(query):
            self._require_view(name)
        renamed = _NAMES.sub(lambda found: found[1] or view_of(found[2]), query)
        return self.session.sql(to_spark(renamed))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a SELECT on the cluster."""
        return Rows(self.arrow(query)).fetchall()

    def arrow(self, query: str) -> pa.Table:
        """The same as an Arrow table."""
        with told_as_ours():
            return self.frame(query).toArrow()

    def column_names(self, query: str) -> list[str]:
        """The columns that a SELECT on the cluster gives."""
        with told_as_ours():
            return list(self.frame(query).columns)

    def number(self, query: str) -> int:
        """The one whole number that a SELECT on the cluster returns."""
        return int(self.rows(query)[0][0])

    def parts(self, table: Table) -> dict[str, tuple[str, ...]]:
        """The table's parts in force within this transaction; none where it was never written."""
        return dict(self.catalog.tables.get(table.full_name, {}))

    def is_made(self, table: Table) -> bool:
        """Whether the table was ever written."""
        return table.full_name in self.catalog.tables

    def set_parts(self, table: Table, parts: Mapping[str, tuple[str, ...]]) -> None:
        """Have the table consist of these parts, once the transaction is committed."""
        kept = {label: tuple(folders) for label, folders in parts.items() if folders}
        self.catalog = replace(self.catalog, tables={**self.catalog.tables, table.full_name: kept})

    def relation(self, name: str, columns: Iterable[Column], folders: Sequence[str]) -> str:
        """A temporary view, of this name, of the rows in some folders; returns the name."""
        self.view(name, self._read([*columns], folders))
        return name

    def view(self, name: str, frame: DataFrame) -> None:
        """Have statements know a frame by this name."""
        with told_as_ours():
            frame.createOrReplaceTempView(name)
        self._viewed.pop(name, None)

    def keep(self, name: str, query: str) -> str:
        """Compute a SELECT once, and have statements know its rows by this name; returns the name.

        The rows lie in the warehouse's scratch folder until the run ends.
        """
        with told_as_ours():
            self.keep_frame(name, self.frame(query))
        return name

    def keep_frame(self, name: str, frame: DataFrame) -> None:
        """The same for a frame."""
        folder = f"{self._scratch}/{name}-{uuid.uuid4().hex[:8]}"
        with told_as_ours():
            schema = frame.schema
            frame.write.parquet(self.store.for_cluster(folder))
            if self.store.exists(folder):
                kept = self.session.read.schema(schema).parquet(self.store.for_cluster(folder))
            else:
                kept = self.session.createDataFrame([], schema)  # type: ignore[assignment]
        self.view(name, kept)

    def write(self, table: Table, query: str, *, by_label: bool = False) -> dict[str, str]:
        """Write the rows of a SELECT into a new folder, without putting it into force.

        Args:
            query: yields the table's columns; with `by_label` also `part`, the label of each row.

        Returns: label -> folder, of the labels that have rows; `ROWS` is the one without `by_label`.
        """
        folder = self.store.new_folder(table.full_name.replace(".", "/"), self.catalog.version + 1)
        with told_as_ours():
            frame = self.frame(query)
            if by_label:
                # One task a label would be too few for a large one; the engine divides those.
                frame.hint("rebalance", "part").write.partitionBy("part").parquet(
                    self.store.for_cluster(folder)
                )
                return self.store.labels(folder)
            frame.write.parquet(self.store.for_cluster(folder))
        return {ROWS: folder} if self.store.exists(folder) else {}

    def gathered(
        self, table: Table, parts: Mapping[str, tuple[str, ...]]
    ) -> dict[str, tuple[str, ...]]:
        """The parts, those of many small folders written anew as one."""
        kept = dict(parts)
        for label, folders in parts.items():
            if len(folders) > MOST_FOLDERS:
                self.relation("many", table.columns, folders)
                names = sql.names(table.column_names)
                kept[label] = tuple(self.write(table, f"SELECT {names} FROM many").values())
        return kept

    def write_scratch(self, name: str, frame: DataFrame, *, by: str) -> dict[str, tuple[str]]:
        """Write a frame into the scratch folder, in parts; value of the column `by` -> its folder."""
        folder = f"{self._scratch}/{name}-{uuid.uuid4().hex[:8]}"
        with told_as_ours():
            frame.write.partitionBy(by).parquet(self.store.for_cluster(folder))
        return {label: (part,) for label, part in self.store.labels(folder).items()}

    def cast(self, columns: Iterable[Column], alias: str = "") -> str:
        """The select list of a table's columns, each of the declared type."""
        prefix = f"{alias}." if alias else ""
        kinds = {"JSON": "VARCHAR"}
        return ", ".join(
            f"CAST({prefix}{sql.identifier(column.name)} AS "
            f"{kinds.get(column.type, column.type)}) AS {sql.identifier(column.name)}"
            for column in columns
        )

    def load(self, name: str, rows: pa.Table) -> str:
        """Have statements know a few rows of this process by a name; returns the name."""
        with told_as_ours():
            self.view(name, self.session.createDataFrame(rows))
        return name

    def _require_view(self, name: str) -> None:
        """Have the view of a table show what is in force in this transaction."""
        if name in BOOKS:
            rows = self.books.sql(f"SELECT * FROM {name}").to_arrow_table()
            self.view(view_of(name), self.session.createDataFrame(rows))
            return
        table = ON_CLUSTER[name]
        if not self.is_made(table):
            raise NotMade(f"Table with name {name} does not exist!")
        parts = self.catalog.tables[name]
        if self._viewed.get(view_of(name)) != parts:
            folders = [folder for folders in parts.values() for folder in folders]
            self.relation(view_of(name), table.columns, folders)
            self._viewed[view_of(name)] = parts

    def _read(self, columns: list[Column], folders: Sequence[str]) -> DataFrame:
        schema = ", ".join(f"`{column.name}` {SPARK_TYPES[column.type]}" for column in columns)
        if not folders:
            return self.session.createDataFrame([], schema)
        paths = [self.store.for_cluster(folder) for folder in folders]
        with told_as_ours():
            return self.session.read.schema(schema).parquet(*paths)

    # --- the books --------------------------------------------------------------------------------

    def _read_books(self) -> None:
        if not self.catalog.books:
            return
        with tempfile.TemporaryDirectory(prefix="student_pipeline_") as folder:
            local = str(Path(folder) / "book.parquet")
            for table in OPS:
                if self.store.get(f"{self.catalog.books}/{table.name}.parquet", local):
                    self.books.execute(
                        f"INSERT INTO {table.full_name} BY NAME "
                        f"SELECT * FROM read_parquet({sql.literal(local)})"
                    )
                elif table is SOURCE_FILES:  # older pipelines may lack others, but never the ledger
                    raise StoreError(
                        f"The warehouse {self.store.url} is damaged: the ledger is not in "
                        f"{self.catalog.books}. Restore a copy."
                    )

    def _write_books(self, folder: str) -> None:
        with tempfile.TemporaryDirectory(prefix="student_pipeline_") as local_folder:
            local = str(Path(local_folder) / "book.parquet")
            for table in OPS:
                self.books.execute(
                    f"COPY {table.full_name} TO {sql.literal(local)} (FORMAT parquet)"
                )
                self.store.put(f"{folder}/{table.name}.parquet", local)

    def _forget_followed_keys(self) -> None:
        """Drop the changed keys that every reader of their table has followed."""
        slowest = dict(
            self.books.execute(
                "SELECT table_name, min(position) FROM ops.watermarks GROUP BY table_name"
            ).fetchall()
        )
        kept = {
            label: folders
            for label, folders in self.parts(KEYS_CHANGED).items()
            if position_of(label) > slowest.get(label.split("@")[0], -1)
        }
        if kept != self.parts(KEYS_CHANGED):
            self.set_parts(KEYS_CHANGED, kept)

    @cached_property
    def version(self) -> str:
        """Of the server."""
        with told_as_ours():
            return self.session.version


def position_of(label: str) -> int:
    """The position of a part of `ops.keys_changed`, whose label is `table@position`."""
    return int(label.split("@")[1])


def view_of(name: str) -> str:
    """The view of a table: a view of a session has no schema."""
    return name.replace(".", "__")


def _tables_in(query: str) -> set[str]:
    return {found[2] for found in _NAMES.finditer(query) if found[2]}


def _is_ours(table: Table, name: str) -> bool:
    """Whether a column of the files is one that only the writing needed."""
    return bool(table.quarantine) and name == "reason"
