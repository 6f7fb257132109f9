"""The Dagster IO manager: every output becomes a declared table, in one transaction."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import dagster as dg
import duckdb

from student_pipeline import tables
from student_pipeline.asset_page import page_metadata
from student_pipeline.tables import Table
from student_pipeline.warehouse import merge, sql, state, strategies
from student_pipeline.warehouse.connection import (
    Warehouse,
    sentence_of,
    tried_again_if_it_can_pass,
)
from student_pipeline.warehouse.values import Feed, Refused, Relation, Select


class WarehouseIOManager(dg.ConfigurableIOManager):
    """Stores what assets return and gives them what they name.

    An asset may return a `Select` (nothing leaves the engine), a `Feed` of portions from outside,
    or a pandas DataFrame. Whatever it is, it is written by column name into the table that
    `tables.py` declares for the asset's key, by that table's strategy: the table is then the old
    one or the new one, never half. Unlike the stock manager, an empty result makes an empty table,
    and a result that doesn't fit is refused with the table as it was (dagster issues 13098, 13287,
    17058, 18746).

    An input annotated as `pandas.DataFrame` is loaded; any other is a `Relation`.
    """

    warehouse: dg.ResourceDependency[Warehouse]

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        table = declared(context.asset_key)
        started = time.monotonic()
        try:
            with (
                tried_again_if_it_can_pass(),
                self._in_the_engine(obj) as result,
                self.warehouse.transaction() as connection,
            ):
                metadata = (
                    quarantine_metadata(connection, table, context.run_id)
                    if isinstance(result, Refused)
                    else self._write(connection, table, result, context.run_id)
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
                metadata = {**metadata, **page_metadata(connection, table)}
        except duckdb.Error as error:  # the table is written; its page does without a plot
            context.log.warning(f"{table.full_name} can't be drawn. {sentence_of(error)}")
        context.add_output_metadata({**metadata, "seconds": round(time.monotonic() - started, 3)})

    @contextmanager
    def _in_the_engine(self, obj: object) -> Iterator[object]:
        """A frame as a SELECT for as long as it takes to write it; anything else as it is.

        That is outside of the transaction: after an error in it, nothing can be unregistered.
        """
        if not is_frame(obj):
            yield obj
            return
        with self.warehouse.get_connection() as connection:
            connection.complete()  # DuckDB registers nothing beside a result not read to its end
            connection.register("frame", obj)
            try:
                yield Select("SELECT * FROM frame")
            finally:
                with suppress(duckdb.ConnectionException):  # a fatal error closed it
                    connection.complete()
                    connection.unregister("frame")

    def _write(
        self, connection: duckdb.DuckDBPyConnection, table: Table, obj: object, run_id: str
    ) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        where: int | None = state.next_position(connection)
        made_by = None
        if isinstance(obj, Select) and table.strategy == "merge" and obj.reads:
            outcome = merge.bring_up_to_date(
                connection, table, obj, full_refresh=self.warehouse.full_refresh
            )
            where, made_by = outcome.position, outcome.made_by
            metadata |= changed(outcome.written) | {"how": outcome.way, "why": outcome.why}
        elif isinstance(obj, Select):
            metadata |= changed(strategies.write(connection, table, obj.sql))
            if table in tables.SILVER and where:  # nobody knows which rows changed
                state.log_everything(connection, table, where)
        elif isinstance(obj, Feed):
            strategies.ensure_table(connection, table)
            metadata |= obj.write(
                connection, lambda incoming: strategies.write(connection, table, incoming), run_id
            )
        else:
            raise dg.DagsterInvariantViolationError(
                f"{table.full_name} can be made from a Select, a Feed or a pandas DataFrame, "
                f"not from {type(obj).__name__}."
            )
        rows = state.record(connection, table, run_id, where, made_by)
        return metadata | {"dagster/row_count": rows, "dagster/table_name": table.full_name}

    def load_input(self, context: dg.InputContext) -> object:
        table = declared(context.asset_key)
        if not wants_frame(context):
            return Relation(table)
        try:
            with self.warehouse.get_connection() as connection:
                return connection.execute(
                    f"SELECT {sql.names(table.column_names)} FROM {table.full_name}"
                ).df()
        except (duckdb.CatalogException, duckdb.BinderException) as error:
            raise dg.Failure(
                f"{table.full_name} can't be loaded: it is not in the warehouse as declared. "
                "Materialize it first.",
                allow_retries=False,
            ) from error


def declared(asset_key: dg.AssetKey) -> Table:
    """The declaration of an asset's table.

    Raises:
        DagsterInvariantViolationError: there is none.
    """
    name = ".".join(asset_key.path)
    if name not in tables.TABLES:
        raise dg.DagsterInvariantViolationError(
            f"{name} is not declared in tables.py; every stored table is."
        )
    return tables.TABLES[name]


def quarantine_metadata(
    connection: duckdb.DuckDBPyConnection, table: Table, run_id: str
) -> dict[str, Any]:
    """What the UI shows of a quarantine: rows, and rows by reason."""
    by_reason = connection.execute(
        f"SELECT reason, count(*) FROM {table.full_name} GROUP BY reason ORDER BY reason"
    ).fetchall()
    rows = state.record(connection, table, run_id)
    return {
        "dagster/row_count": rows,
        "dagster/table_name": table.full_name,
        **{f"quarantined/{reason}": number for reason, number in by_reason},
    }


def changed(written: strategies.Written) -> dict[str, Any]:
    """What the UI shows of a write."""
    return {"rows_added": written.added, "rows_removed": written.removed}


def is_frame(obj: object) -> bool:
    """Whether it is a DataFrame, without importing pandas where nobody did."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(obj, pandas.DataFrame)


def wants_frame(context: dg.InputContext) -> bool:
    """Whether the asset's function wants the input as a DataFrame."""
    pandas = sys.modules.get("pandas")
    wanted = context.dagster_type.typing_type if context.dagster_type else None
    return pandas is not None and wanted is pandas.DataFrame
