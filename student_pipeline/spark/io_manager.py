"""The Dagster IO manager of the cluster: every output becomes a declared table, at once or not at all."""

import time
from typing import Any

import dagster as dg
import duckdb

from student_pipeline import tables
from student_pipeline.asset_page import page_metadata
from student_pipeline.ingest.delivery import Delivery
from student_pipeline.spark import reading, writing
from student_pipeline.spark.connection import SparkConnection
from student_pipeline.spark.warehouse import SparkWarehouse
from student_pipeline.tables import Table
from student_pipeline.warehouse import sql, state, strategies
from student_pipeline.warehouse.connection import sentence_of, tried_again_if_it_can_pass
from student_pipeline.warehouse.io_manager import (
    changed,
    declared,
    is_frame,
    quarantine_metadata,
    wants_frame,
)
from student_pipeline.warehouse.values import Refused, Relation, Select


class SparkIOManager(dg.ConfigurableIOManager):
    """Does on a cluster what `WarehouseIOManager` does in DuckDB, for the same assets.

    A DataFrame of pandas passes through this process, to the cluster or from it.
    """

    warehouse: dg.ResourceDependency[SparkWarehouse]

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        table = declared(context.asset_key)
        started = time.monotonic()
        try:
            with tried_again_if_it_can_pass(), self.warehouse.transaction() as connection:
                books: Any = connection
                metadata = (
                    quarantine_metadata(books, table, context.run_id)
                    if isinstance(obj, Refused)
                    else self._write(connection, table, obj, context.run_id)
                )
        except strategies.SchemaMismatch as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        except duckdb.Error as error:
            # The cause stays out of the log: its message may quote what is in a column.
            raise dg.Failure(
                f"{table.full_name} can't be written and stays as it was. {sentence_of(error)}",
                allow_retries=False,
            ) from None
        if metadata.get("how") == "rebuilt":
            context.log.info(f"{table.full_name}: {metadata['why']}")
        try:
            with self.warehouse.get_connection() as connection:
                books = connection
                metadata = {**metadata, **page_metadata(books, table)}
        except duckdb.Error as error:  # the table is written; its page does without a plot
            context.log.warning(f"{table.full_name} can't be drawn. {sentence_of(error)}")
        context.add_output_metadata({**metadata, "seconds": round(time.monotonic() - started, 3)})

    def _write(
        self, connection: SparkConnection, table: Table, obj: object, run_id: str
    ) -> dict[str, Any]:
        books: Any = connection
        metadata: dict[str, Any] = {}
        where: int | None = state.next_position(books)
        made_by = None
        if is_frame(obj):
            obj = Select(f"SELECT * FROM {connection.load('frame', _arrow(obj))}")
        if isinstance(obj, Select) and table.strategy == "merge" and obj.reads:
            outcome = writing.bring_up_to_date(
                connection, table, obj, full_refresh=self.warehouse.full_refresh
            )
            where, made_by = outcome.position, outcome.made_by
            metadata |= changed(outcome.written) | {"how": outcome.way, "why": outcome.why}
        elif isinstance(obj, Select):
            metadata |= changed(writing.write(connection, table, obj.sql))
            if table in tables.SILVER and where:  # nobody knows which rows changed
                writing.log_everything(connection, table, where)
        elif isinstance(obj, Delivery):
            metadata |= reading.load(connection, table, obj, run_id)
        else:
            raise dg.DagsterInvariantViolationError(
                f"{table.full_name} can be made from a Select, a Delivery or a pandas DataFrame, "
                f"not from {type(obj).__name__}."
            )
        rows = state.record(books, table, run_id, where, made_by)
        return metadata | {"dagster/row_count": rows, "dagster/table_name": table.full_name}

    def load_input(self, context: dg.InputContext) -> object:
        table = declared(context.asset_key)
        if not wants_frame(context):
            return Relation(table)
        try:
            with self.warehouse.get_connection() as connection:
                return connection.arrow(
                    f"SELECT {sql.names(table.column_names)} FROM {table.full_name}"
                ).to_pandas()
        except duckdb.CatalogException as error:
            raise dg.Failure(
                f"{table.full_name} can't be loaded: it is not in the warehouse as declared. "
                "Materialize it first.",
                allow_retries=False,
            ) from error


def _arrow(frame: Any) -> Any:
    import pyarrow as pa

    return pa.Table.from_pandas(frame, preserve_index=False)
