"""Looking at the tables of a cluster beside the runs.

No lock is needed: what stood when the pointer was read stands at least until the next run has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import duckdb

from student_pipeline.spark import session
from student_pipeline.spark.connection import SparkConnection
from student_pipeline.spark.store import Store, StoreError
from student_pipeline.warehouse import sql
from student_pipeline.warehouse.connection import WarehouseBusy
from student_pipeline.warehouse.reading import WarehouseMissing


@contextmanager
def copies(
    url: str, remote: str, selects: Mapping[str, str]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory with copies of what is asked for.

    Args:
        selects: name of the copy -> a SELECT on a table of the warehouse. Of a table that is not
            there, there is no copy.

    Raises:
        WarehouseBusy: the cluster can't be asked; the message is a sentence.
        WarehouseMissing: there are no tables yet, or they can't be read.
    """
    try:
        store = Store(url)
        if store.read() is None:
            raise WarehouseMissing(f"There is no warehouse {url} yet: run `student-pipeline run`.")
        opened = session.connect(remote)
    except StoreError as error:
        raise WarehouseMissing(str(error)) from error
    except session.ClusterUnreachable as error:
        raise WarehouseBusy(str(error)) from error
    try:
        with duckdb.connect() as copied:
            copied.execute("SET TimeZone = 'UTC'")
            copied.execute("SET autoinstall_known_extensions = false")
            connection = SparkConnection(opened, store)
            for name, select in selects.items():
                try:
                    rows = connection.arrow(select)
                except duckdb.CatalogException:  # the table was not made yet
                    continue
                copied.register("rows_of_cluster", rows)
                copied.execute(
                    f"CREATE TABLE {sql.identifier(name)} AS SELECT * FROM rows_of_cluster"
                )
                copied.unregister("rows_of_cluster")
            connection.close()
            yield copied
    except StoreError as error:
        raise WarehouseMissing(str(error)) from error
    except duckdb.Error as error:
        raise WarehouseBusy(str(error)) from error
    finally:
        session.end(opened)
