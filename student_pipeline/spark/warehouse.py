"""The resource `warehouse` where a cluster keeps the tables."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import dagster as dg
import duckdb
from dagster import Failure, InitResourceContext, get_dagster_logger
from pydantic import Field, PrivateAttr

from student_pipeline.permissions import private
from student_pipeline.spark import session
from student_pipeline.spark.connection import ON_CLUSTER, SparkConnection
from student_pipeline.spark.store import Store, StoreBusy, StoreError
from student_pipeline.tables import Table
from student_pipeline.warehouse import sql


class SparkWarehouse(dg.ConfigurableResource):
    """The folder of the tables, and the cluster that works on it, with the methods of `Warehouse`.

    A run takes the lock and opens a session at its first use, and ends both at its end.
    """

    database: str = Field(
        description="The folder of the tables: a path or URL that the cluster and we see alike."
    )
    remote: str = Field(
        description="The Spark Connect server, such as sc://spark.example.org:15002."
    )
    lock_timeout_seconds: float = Field(
        default=1800,
        ge=0,
        description="How long a run waits for another one that writes.",
    )
    full_refresh: bool = Field(
        default=False,
        description="Rebuild silver, quarantine and gold from bronze.",
    )

    _connection: SparkConnection | None = PrivateAttr(default=None)
    _held: ExitStack | None = PrivateAttr(default=None)
    _gave_up: str | None = PrivateAttr(default=None)
    _had_session: bool = PrivateAttr(default=False)
    _found: set[str] = PrivateAttr(default_factory=set)

    @contextmanager
    def yield_for_execution(self, context: InitResourceContext) -> Iterator["SparkWarehouse"]:
        with private():
            try:
                yield self
                self._sweep()
            finally:
                self.close()

    def _sweep(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.sweep()
        except OSError as error:
            get_dagster_logger().warning(
                f"Old versions of tables in {self.database} can't be removed: {error}"
            )

    def close(self) -> None:
        """End the session and let go of the lock; the next use opens both again."""
        self._gave_up = None
        held, self._held, self._connection = self._held, None, None
        if held:
            held.close()

    @contextmanager
    def get_connection(self) -> Iterator[SparkConnection]:
        """The run's connection, opened when it is not yet; it stays open until the run ends.

        Raises:
            Failure: there is no cluster, it does not see the warehouse, or another run holds that.
        """
        if self._gave_up:  # a run waits once, not once a step
            raise Failure(self._gave_up, allow_retries=False)
        if self._connection is None:
            self._open()
        assert self._connection is not None
        try:
            yield self._connection
        except session.ClusterLost:  # the next try finds another session
            self.close()
            raise

    def _open(self) -> None:
        with ExitStack() as held:
            try:
                opened = session.connect(self.remote)
                held.callback(session.end, opened)
                store = Store(self.database)
                store.make()
                held.enter_context(store.lock(self.lock_timeout_seconds, get_dagster_logger().info))
                session.require_shared(opened, store)
                self._connection = SparkConnection(opened, store)
            except session.ClusterUnreachable as error:
                if self._had_session:  # it went away in this run, and may come back
                    raise Failure(str(error)) from None
                self._gave_up = str(error)
                raise Failure(self._gave_up, allow_retries=False) from None
            except (StoreError, StoreBusy) as error:
                self._gave_up = str(error)
                raise Failure(self._gave_up, allow_retries=False) from None
            self._had_session = True
            # What stood before the first change of this run may be read until it ends.
            self._found |= self._connection.found
            self._connection.found = self._found
            held.callback(self._connection.close)
            self._held = held.pop_all()

    @contextmanager
    def transaction(self) -> Iterator[SparkConnection]:
        """The run's connection inside one transaction: all of it is kept, or nothing."""
        with self.get_connection() as connection:
            connection.begin()
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            try:
                connection.commit()
            except BaseException:  # what is in force now, only the pointer knows
                self.close()
                raise

    @contextmanager
    def copied(self, wanted: Sequence[Table]) -> Iterator[duckdb.DuckDBPyConnection]:
        """A DuckDB in memory with copies of small tables, for what is written as files."""
        with self.get_connection() as connection, duckdb.connect() as copy:
            copy.execute("SET TimeZone = 'UTC'")
            copy.execute("SET autoinstall_known_extensions = false")
            for table in wanted:
                copy_table(connection, table, copy)
            yield copy


def copy_table(connection: SparkConnection, table: Table, copy: duckdb.DuckDBPyConnection) -> None:
    """Make the table in a DuckDB as declared, with the rows that stand on the cluster."""
    assert table.full_name in ON_CLUSTER
    copy.execute(f"CREATE SCHEMA IF NOT EXISTS {table.schema}")
    copy.execute(table.ddl())
    rows: Any = connection.arrow(f"SELECT {sql.names(table.column_names)} FROM {table.full_name}")
    copy.register("rows_of_cluster", rows)
    order = f" ORDER BY {sql.names(table.order_by)}" if table.order_by else ""
    copy.execute(f"INSERT INTO {table.full_name} BY NAME SELECT * FROM rows_of_cluster{order}")
    copy.unregister("rows_of_cluster")
