"""The decorator that makes a Dagster asset of a declared table."""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dagster as dg

from student_pipeline.lineage import lineage_metadata
from student_pipeline.sources import SOURCES
from student_pipeline.tables import Table
from student_pipeline.warehouse.connection import tried_again_if_it_can_pass
from student_pipeline.warehouse.values import Refused

POOL = "duckdb"
"""The concurrency pool of everything that opens the warehouse.

It needs no limit, since a run waits for the warehouse itself; a deployment may still set one.
"""

OWNERS = {
    "bronze": ["team:data-engineering"],
    "silver": ["team:data-engineering"],
    "quarantine": ["team:registrar"],
    "gold": ["team:school-analytics"],
}


def landing_key(source: str) -> dg.AssetKey:
    """The asset of a source's files in the landing folder."""
    return dg.AssetKey(["landing", source])


def table_asset(
    table: Table,
    *,
    reads: Sequence[Table] = (),
    sql: str | None = None,
    code_version: str = "1",
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Make the decorated function the asset of a table.

    The function has a parameter for each table that it reads, by the table's name, may name
    resources, and returns what the IO manager stores. A table that refuses rows brings its
    quarantine along: a second asset of the same step, written in the same transaction.

    Args:
        reads: the tables it depends on.
        sql: the text of its SELECT, for the asset's page.
        code_version: change it when the function's meaning changes.
    """

    def decorate(function: Callable[..., Any]) -> dg.AssetsDefinition:
        outs = {table.name: _out(table, inspect.getdoc(function), sql, code_version)}
        quarantine = table.quarantine
        if quarantine:
            outs[f"{quarantine.name}_quarantine"] = _out(quarantine, None, None, code_version)

        @functools.wraps(function)
        def compute(**inputs: Any) -> Iterator[dg.Output[Any]]:
            with tried_again_if_it_can_pass():
                result = function(**inputs)
            yield dg.Output(result, table.name)
            if quarantine:
                yield dg.Output(Refused(table), f"{quarantine.name}_quarantine")

        # Dagster reads inputs and resources from the signature, and must not read its result.
        signature = inspect.signature(function)
        compute.__signature__ = signature.replace(return_annotation=inspect.Signature.empty)  # type: ignore[attr-defined]
        compute.__annotations__ = {
            name: kind for name, kind in function.__annotations__.items() if name != "return"
        }
        return dg.multi_asset(
            name=f"{table.schema}_{table.name}",
            outs=outs,
            ins={other.name: dg.AssetIn(key=dg.AssetKey(other.asset_key)) for other in reads},
            deps=[landing_key(table.source)] if table.schema == "bronze" and table.source else [],
            pool=POOL,
        )(compute)

    return decorate


def _out(table: Table, meaning: str | None, sql: str | None, code_version: str) -> dg.AssetOut:
    """How a table shows in the UI."""
    metadata: dict[str, Any] = {
        "dagster/column_schema": column_schema(table),
        "dagster/table_name": table.full_name,
        **lineage_metadata(table),
    }
    if table.key:
        metadata["key"] = ", ".join(table.key)
    if sql:
        metadata["select"] = dg.MetadataValue.md(f"```sql\n{sql}\n```")
    kinds = {"duckdb", "table"} if not sql else {"duckdb", "sql"}
    return dg.AssetOut(
        key=dg.AssetKey(table.asset_key),
        description=f"{table.description}\n\n{meaning}" if meaning else table.description,
        group_name=table.schema,
        owners=OWNERS[table.schema],
        kinds=kinds,
        tags={"layer": table.schema, **({"source": table.source} if table.source else {})},
        metadata=metadata,
        code_version=code_version,
        io_manager_key="io_manager",
    )


def column_schema(table: Table) -> dg.TableSchema:
    """The columns as Dagster shows them, with what is promised of each."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.type,
                description=column.description,
                constraints=dg.TableColumnConstraints(
                    nullable=not column.required,
                    unique=table.key == (column.name,),
                    other=_promises(column),
                ),
            )
            for column in table.columns
        ]
    )


def _promises(column: Any) -> list[str]:
    promises = []
    if column.allowed:
        promises.append(f"one of {', '.join(column.allowed)}")
    if column.minimum is not None:
        promises.append(f"at least {column.minimum:g}")
    if column.maximum is not None:
        promises.append(f"at most {column.maximum:g}")
    if column.references:
        promises.append(f"a key of {column.references}")
    return promises


def landing_specs(url: str) -> list[dg.AssetSpec]:
    """The files of each source as upstream assets, which others deliver."""
    from student_pipeline.ingest.discovery import patterns

    return [
        dg.AssetSpec(
            landing_key(source.name),
            group_name="landing",
            description=f"{source.description} Usually {source.usual_format}.",
            kinds={"file", source.usual_format.lower()},
            owners=["team:registrar"],
            metadata={
                "files": patterns(source),
                "landing folder": url,
                "columns": ", ".join(source.columns),
            },
        )
        for source in SOURCES.values()
    ]
