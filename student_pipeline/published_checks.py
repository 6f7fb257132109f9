"""The asset checks of the published files: they hold what gold holds.

They read the files as others do. One that fails means that somebody else wrote into the publish
folder, or that the disk lost something.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import duckdb

from student_pipeline import tables
from student_pipeline.assets.published import published_key
from student_pipeline.assets.table_asset import POOL
from student_pipeline.reports import standing
from student_pipeline.reports.folder import PublishFolder
from student_pipeline.reports.page import END, MOST_BYTES
from student_pipeline.settings import Rules
from student_pipeline.tables import Table
from student_pipeline.warehouse import sql
from student_pipeline.warehouse.connection import (
    Warehouse,
    sentence_of,
    tried_again_if_it_can_pass,
)

Find = Callable[[duckdb.DuckDBPyConnection, Path], tuple[bool, str]]

SAME_AS_GOLD = "same_as_gold"
PAGE_WHOLE = "page_whole"


def _relation(table: Table, file: Path) -> str:
    """The file as SQL reads it, with the columns that it must have."""
    if file.suffix == ".parquet":
        return f"read_parquet({sql.literal(str(file))})"
    columns = ", ".join(
        f"{sql.literal(column.name)}: {sql.literal(column.type)}" for column in table.contract
    )
    return (
        f"read_csv({sql.literal(str(file))}, columns = {{{columns}}}, auto_detect = false, "
        "header = true, delim = ',', quote = '\"', escape = '\"', nullstr = '', "
        "new_line = '\\r\\n', parallel = false)"
    )


def _differing(connection: duckdb.DuckDBPyConnection, table: Table, relation: str) -> int:
    """Rows of gold that are not in the relation, or the other way round.

    They are told apart row by row only where the sums over the hashes of all rows differ.
    """
    names = sql.names(column.name for column in table.contract)
    mine, theirs = f"SELECT {names} FROM {table.full_name}", f"SELECT {names} FROM {relation}"
    sums = [
        connection.execute(
            f"SELECT count(*), sum(hash({names})) FROM ({rows}) AS compared"
        ).fetchone()
        for rows in (mine, theirs)
    ]
    if sums[0] == sums[1]:
        return 0
    row = connection.execute(
        f"SELECT (SELECT count(*) FROM ({mine} EXCEPT ALL {theirs})) "
        f"+ (SELECT count(*) FROM ({theirs} EXCEPT ALL {mine}))"
    ).fetchone()
    return row[0] if row else 0


def _rows(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {relation}").fetchone()
    return row[0] if row else 0


def _files_of(table: Table) -> Find:
    def find(connection: duckdb.DuckDBPyConnection, folder: Path) -> tuple[bool, str]:
        parquet, csv = (folder / f"{table.name}.{ending}" for ending in ("parquet", "csv"))
        rows = _rows(connection, table.full_name)
        wrong = []
        differing = _differing(connection, table, _relation(table, parquet))
        if differing:
            wrong.append(f"{differing:,} rows of {parquet.name} differ from {table.full_name}")
        # Ids may have an apostrophe in front there, so only the number of rows is compared.
        found = _rows(connection, _relation(table, csv))
        if found != rows:
            wrong.append(f"{csv.name} has {found:,} rows, {table.full_name} {rows:,}")
        if wrong:
            return False, f"{'; '.join(wrong)}."
        return True, f"{parquet.name} and {csv.name} have the {rows:,} rows of {table.full_name}."

    return find


def _gold_duckdb(connection: duckdb.DuckDBPyConnection, folder: Path) -> tuple[bool, str]:
    file = folder / "gold.duckdb"
    connection.execute(f"ATTACH {sql.literal(str(file))} AS published (READ_ONLY)")
    try:
        differing = {
            table.name: _differing(connection, table, f"published.main.{table.name}")
            for table in tables.GOLD
        }
    finally:
        connection.execute("DETACH published")
    wrong = [f"{number:,} rows of {name}" for name, number in differing.items() if number]
    if wrong:
        return False, f"{' and '.join(wrong)} in {file.name} differ from gold."
    return True, f"{file.name} has the rows of both gold tables."


def _page_whole(connection: duckdb.DuckDBPyConnection, folder: Path) -> tuple[bool, str]:
    file = folder / "report.html"
    content = file.read_bytes()
    if not content.rstrip().endswith(END):
        return False, f"{file.name} does not end as a page does."
    if len(content) > MOST_BYTES:
        return (
            False,
            f"{file.name} has {len(content):,} bytes; at most {MOST_BYTES:,} were expected.",
        )
    return True, f"{file.name} is whole; {len(content):,} bytes."


FINDS: dict[str, tuple[str, str, Find]] = {
    **{
        table.name: (
            SAME_AS_GOLD,
            "The Parquet file has exactly gold's rows, the CSV file as many.",
            _files_of(table),
        )
        for table in tables.GOLD
    },
    "gold_duckdb": (SAME_AS_GOLD, "Both tables have exactly gold's rows.", _gold_duckdb),
    "report": (PAGE_WHOLE, "The page is whole, and not too large to open.", _page_whole),
}
"""Published asset -> name, description and function of its check."""


@dg.multi_asset_check(
    name="published_checks",
    specs=[
        dg.AssetCheckSpec(
            name=name, asset=published_key(asset), description=description, blocking=True
        )
        for asset, (name, description, _) in FINDS.items()
    ],
    can_subset=True,
    pool=POOL,
)
def published_checks(
    context: dg.AssetCheckExecutionContext,
    warehouse: Warehouse,
    publish: PublishFolder,
    rules: Rules,
) -> Iterator[dg.AssetCheckResult]:
    """Every published file, read back."""
    selected = context.selected_asset_check_keys
    same, differs = [], False
    with (
        tried_again_if_it_can_pass(),
        warehouse.get_connection() as connection,
        warehouse.copied(tables.GOLD) as copied,
    ):
        for asset, (name, _, find) in FINDS.items():
            if dg.AssetCheckKey(published_key(asset), name) not in selected:
                continue
            try:
                passed, sentence = find(copied, publish.folder)
            except (OSError, duckdb.Error) as error:
                reason = error.strerror if isinstance(error, OSError) else sentence_of(error)
                passed, sentence = False, f"It can't be read: {reason}"
            if name == SAME_AS_GOLD:
                same += [asset] if passed else []
                differs |= not passed
            yield dg.AssetCheckResult(
                asset_key=published_key(asset),
                check_name=name,
                passed=passed,
                severity=dg.AssetCheckSeverity.ERROR,
                description=sentence,
            )
        everything = [asset for asset, (name, *_) in FINDS.items() if name == SAME_AS_GOLD]
        with warehouse.transaction():
            if differs:
                standing.forget(connection)
            elif same == everything:
                standing.note_checked(connection, publish.folder, rules)
