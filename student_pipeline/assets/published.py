"""Published: the files that people read, made from gold when its checks have passed."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path

import dagster as dg
import duckdb

from student_pipeline import tables
from student_pipeline.assets.table_asset import POOL, column_schema
from student_pipeline.ingest.delivery import LandingFolder
from student_pipeline.reports import standing
from student_pipeline.reports.figures import figures
from student_pipeline.reports.files import write_csv, write_duckdb, write_parquet
from student_pipeline.reports.folder import PublishFolder
from student_pipeline.reports.page import page
from student_pipeline.scope import passed
from student_pipeline.settings import Rules
from student_pipeline.tables import Table
from student_pipeline.warehouse.connection import (
    Warehouse,
    sentence_of,
    tried_again_if_it_can_pass,
)
from student_pipeline.warehouse.strategies import count

GROUP = "published"


def published_key(name: str) -> dg.AssetKey:
    """The key of a published asset."""
    return dg.AssetKey([GROUP, name])


FILES = {
    **{table.name: (f"{table.name}.parquet", f"{table.name}.csv") for table in tables.GOLD},
    "gold_duckdb": ("gold.duckdb",),
    "report": ("report.html",),
}
"""Published asset -> its files in the publish folder."""

EVERY_FILE = [file for files in FILES.values() for file in files]


def _spec(name: str, description: str, kinds: set[str], table: Table | None = None) -> dg.AssetSpec:
    return dg.AssetSpec(
        published_key(name),
        # Each waits for both: no file may be newer than another because one table was held back.
        deps=[dg.AssetKey(gold.asset_key) for gold in tables.GOLD],
        description=f"{description}\n\nIn the publish folder: {', '.join(FILES[name])}.",
        group_name=GROUP,
        owners=["team:school-analytics"],
        kinds=kinds,
        tags={"layer": GROUP},
        metadata={"dagster/column_schema": column_schema(table)} if table else {},
        code_version="1",
    )


@dg.multi_asset(
    name=GROUP,
    specs=[
        *(
            _spec(table.name, f"{table.description} As files.", {"parquet", "csv"}, table)
            for table in tables.GOLD
        ),
        _spec("gold_duckdb", "Both gold tables in one small DuckDB file.", {"duckdb", "file"}),
        _spec("report", "The page for people: charts, filters, and what is not known.", {"html"}),
    ],
    pool=POOL,
)
def published(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    landing: LandingFolder,
    publish: PublishFolder,
    rules: Rules,
) -> Iterator[dg.MaterializeResult]:
    """All files are written first and then take the places of the old ones together.

    Where nothing changed since they were checked, only the report is written: it says when.
    """
    with tried_again_if_it_can_pass():
        rows, seconds = publish_all(
            warehouse, publish, rules, now=landing.now(), run_id=context.run.run_id
        )
    for name, written in FILES.items():
        sizes = {file: (publish.folder / file).stat().st_size for file in written}
        yield dg.MaterializeResult(
            asset_key=published_key(name),
            metadata={
                **({"dagster/row_count": rows[name]} if name in rows else {}),
                **{f"bytes/{file}": size for file, size in sizes.items()},
                "folder": dg.MetadataValue.path(str(publish.folder)),
                "seconds": round(seconds.get(name, 0), 3),
            },
        )


def publish_all(
    warehouse: Warehouse, publish: PublishFolder, rules: Rules, *, now: datetime, run_id: str
) -> tuple[dict[str, int], dict[str, float]]:
    """Write every file that is not as it shall be; return rows by asset, and seconds by asset.

    Raises:
        Failure: a file can't be written, or gold can't be read; all files are as they were.
    """
    try:
        with warehouse.get_connection() as connection:
            _require_checked(connection)
            rows = {table.name: count(connection, table) for table in tables.GOLD}
            stand = standing.stands(connection, publish.folder, rules)
            with publish.new_files(*(FILES["report"] if stand else EVERY_FILE)) as drafts:
                report = partial(_write_report, connection, drafts, rules, now=now, run_id=run_id)
                if stand:
                    seconds = report()
                else:
                    # Both at once: neither keeps all cores busy by itself.
                    with (
                        warehouse.copied(tables.GOLD) as copied,
                        copied.cursor() as cursor,
                        ThreadPoolExecutor(1) as beside,
                    ):
                        written = beside.submit(_write_tables, cursor, drafts, rules)
                        seconds = report() | written.result()
                    # What somebody wrote into the old copy does not belong to the new one.
                    (publish.folder / "gold.duckdb.wal").unlink(missing_ok=True)
            if not stand:
                with warehouse.transaction():
                    standing.note_written(connection, publish.folder, rules)
    except (OSError, duckdb.IOException) as error:
        reason = error.strerror if isinstance(error, OSError) else sentence_of(error)
        raise dg.Failure(
            f"The publish folder {publish.folder} can't be written: {reason}. "
            "What was published before stays."
        ) from error
    except duckdb.Error as error:
        # The cause stays out of the log: its message may quote what is in a column.
        raise dg.Failure(
            f"Gold can't be published. {sentence_of(error)} What was published before stays.",
            allow_retries=False,
        ) from None
    return rows, seconds


def _write_tables(
    connection: duckdb.DuckDBPyConnection, drafts: dict[str, Path], rules: Rules
) -> dict[str, float]:
    """Write both tables in every form; return seconds by asset."""
    seconds: dict[str, float] = {}
    for table in tables.GOLD:
        started = time.monotonic()
        parquet, csv = (drafts[file] for file in FILES[table.name])
        write_parquet(connection, table, parquet)
        write_csv(connection, table, csv, guarded=rules.csv_guards_formulas)
        seconds[table.name] = time.monotonic() - started
    started = time.monotonic()
    write_duckdb(connection, tables.GOLD, drafts["gold.duckdb"])
    return {**seconds, "gold_duckdb": time.monotonic() - started}


def _write_report(
    connection: duckdb.DuckDBPyConnection,
    drafts: dict[str, Path],
    rules: Rules,
    *,
    now: datetime,
    run_id: str,
) -> dict[str, float]:
    """Write the page; return seconds by asset."""
    started = time.monotonic()
    shown = figures(connection, rules, now=now, run_id=run_id)
    drafts["report.html"].write_text(page(shown), encoding="utf-8")
    return {"report": time.monotonic() - started}


def _require_checked(connection: duckdb.DuckDBPyConnection) -> None:
    """Raise `Failure` unless the blocking checks of gold have passed on what is there now."""
    for table in tables.GOLD:
        if not passed(connection, table):
            raise dg.Failure(
                f"The checks of {table.full_name} have not passed on the rows that are there now. "
                "What was published before stays. Run the whole job, or the table with its checks.",
                allow_retries=False,
            )


ASSETS = [published]
