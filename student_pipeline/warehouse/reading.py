"""Looking into the warehouse beside the runs: quickly in, a copy, and out again."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb

from student_pipeline.warehouse import sql
from student_pipeline.warehouse.connection import WarehouseBusy, holder_of

WAIT_SECONDS = 2.0
"""How long a reader waits for a run to let go, before it says that it can't look."""


class WarehouseMissing(Exception):
    """There is no warehouse yet, or the file is none. The message is a sentence."""


@contextmanager
def copies(
    path: Path, selects: Mapping[str, str], *, timeout_seconds: float = WAIT_SECONDS
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with copies of what is asked for, in memory; the file is closed again by then.

    DuckDB lets nobody write while somebody reads: so a run waits for the copying only, which takes
    milliseconds, and not for what the caller does with it.

    Args:
        path: the warehouse.
        selects: name of the copy -> a SELECT on a table of the warehouse. Of a table that is not
            there, there is no copy.
        timeout_seconds: how long to wait for a run.

    Raises:
        WarehouseBusy: a run holds it; the message names the process.
        WarehouseMissing: there is no such file, or it is no DuckDB file.
    """
    if not path.is_file():
        raise WarehouseMissing(f"There is no warehouse {path} yet: run `student-pipeline run`.")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET autoinstall_known_extensions = false")
        _attach(connection, path, timeout_seconds)
        connection.execute("USE warehouse")
        for name, select in selects.items():
            try:
                connection.execute(f"CREATE TABLE memory.main.{sql.identifier(name)} AS {select}")
            except duckdb.CatalogException:  # the table was not made yet
                continue
        connection.execute("USE memory")
        connection.execute("DETACH warehouse")
        yield connection


def _attach(connection: duckdb.DuckDBPyConnection, path: Path, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            connection.execute(f"ATTACH {sql.literal(str(path))} AS warehouse (READ_ONLY)")
            return
        except duckdb.IOException as error:
            if "Could not set lock" not in str(error):
                raise WarehouseMissing(
                    f"The warehouse {path} can't be opened: {str(error).splitlines()[0]}"
                ) from error
            if time.monotonic() >= deadline:
                raise WarehouseBusy(
                    f"The warehouse {path} is in use by {holder_of(str(error))}: most likely a run."
                ) from error
        time.sleep(0.05)
