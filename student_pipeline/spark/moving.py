"""A warehouse on Spark as one end of a transfer (`student_pipeline.transfer`).

The cluster writes and reads the Parquet files itself; the pipeline's books, which are small, go through
this process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb
import fsspec

from student_pipeline.fingerprint import Fingerprint, Words, expressions, fingerprint
from student_pipeline.permissions import private
from student_pipeline.progress import say
from student_pipeline.settings import SettingsError
from student_pipeline.spark import session, writing
from student_pipeline.spark.connection import (
    BOOKS,
    KEYS_CHANGED,
    SPARK_TYPES,
    SparkConnection,
    position_of,
)
from student_pipeline.spark.session import told_as_ours
from student_pipeline.spark.store import Store, StoreBusy, StoreError
from student_pipeline.tables import Table
from student_pipeline.transfer import TransferFailed
from student_pipeline.warehouse import sql
from student_pipeline.warehouse.connection import WarehouseBusy
from student_pipeline.warehouse.moving import WAIT_SECONDS, DuckDBEngine
from student_pipeline.warehouse.reading import WarehouseMissing


def _identifier(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


WORDS = Words(
    text="STRING",
    identifier=_identifier,
    number_of=lambda text: (
        f"CAST(conv(substring(md5(CAST({text} AS BINARY)), 1, 15), 16, 10) AS BIGINT)"
    ),
    microseconds_of=lambda instant: f"unix_micros({instant})",
)


@contextmanager
def opened(url: str, remote: str, *, read_only: bool) -> Iterator[SparkEngine]:
    """The tables of a warehouse on a cluster; meanwhile no run writes them.

    Args:
        read_only: look only; otherwise the folder is made when it is missing.

    Raises:
        WarehouseBusy: a run holds it for too long, or the cluster can't be asked.
        WarehouseMissing: it is to be looked at and is not there, or can't be read.
    """
    with ExitStack() as held:
        held.enter_context(private())
        try:
            store = Store(url)
            if read_only and store.read() is None:
                raise WarehouseMissing(
                    f"There is no warehouse {url} yet: run `student-pipeline run`."
                )
            opened = session.connect(remote)
            held.callback(session.end, opened)
            store.make()
            held.enter_context(store.lock(WAIT_SECONDS, say))
            if not read_only:
                session.require_shared(opened, store)
            connection = SparkConnection(opened, store)
        except StoreError as error:
            raise WarehouseMissing(str(error)) from error
        except (session.ClusterUnreachable, StoreBusy) as error:
            raise WarehouseBusy(str(error)) from error
        held.callback(connection.close)
        yield SparkEngine(connection)
        if not read_only:
            connection.sweep()


class SparkEngine:
    """Tables on a cluster."""

    def __init__(self, connection: SparkConnection) -> None:
        self._connection = connection
        self._books = DuckDBEngine(connection.books, Path())
        self.name = f"Spark {connection.version}"
        self.place = connection.store.url
        # What a run that was broken off left to be followed, as marks; this is never committed.
        for label in connection.parts(KEYS_CHANGED):
            connection.books.execute(
                "INSERT INTO ops.changes (table_name, position) VALUES (?, ?)",
                [label.split("@")[0], position_of(label)],
            )

    def holds(self, table: Table) -> bool:
        if table.full_name in BOOKS:
            return True
        if not self._connection.is_made(table):
            return False
        stored = self._connection.stored_columns(table.schema)[table.name]
        if stored != [(column.name, column.type) for column in table.columns]:
            raise TransferFailed(
                f"The columns of {table.full_name} are not those of this version of "
                "student-pipeline. `student-pipeline run` brings them up to date; then try again."
            )
        return True

    def fingerprint(self, table: Table) -> Fingerprint:
        if table.full_name in BOOKS:
            return self._books.fingerprint(table)
        frame = self._connection.frame(_select(table))
        with told_as_ours():
            (row,) = frame.selectExpr(*expressions(table, WORDS)).collect()
        return fingerprint(table, tuple(row))

    def require_folder(self, folder: str) -> None:
        if "://" not in folder and not Path(folder).is_absolute():
            raise SettingsError(
                f"{folder} is no absolute path; the cluster has another working folder."
            )

    def write_out(self, table: Table, folder: str) -> None:
        if table.full_name in BOOKS:
            self._copy_book_to(table, folder)
            return
        frame = self._connection.frame(_select(table))
        with told_as_ours():
            frame.write.parquet(_for_cluster(folder))
        if self._connection.parts(table) and not _files_in(folder):
            raise TransferFailed(
                f"What the cluster writes to {folder} can't be seen from here. It must be the same "
                "folder, or object store, for this process and every worker."
            )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._connection.begin()
        try:
            yield
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise

    def read_in(self, table: Table, folder: str, *, rows: int) -> None:
        if table.full_name in BOOKS:
            self._copy_book_from(table, folder, rows)
            return
        if not rows:
            self._connection.set_parts(table, {})
            return
        incoming = "incoming_table"
        try:
            schema = ", ".join(
                f"{_identifier(column.name)} {SPARK_TYPES[column.type]}" for column in table.columns
            )
            with told_as_ours():
                frame = self._connection.session.read.schema(schema).parquet(_for_cluster(folder))
            self._connection.view(incoming, frame)
            columns = ", ".join(
                f"id_hash({sql.identifier(table.key[0])}) AS _id_hash"
                if column.name == "_id_hash"
                else sql.identifier(column.name)
                for column in table.columns
            )
            writing.replace(self._connection, table, f"SELECT {columns} FROM {incoming}")
        except session.ClusterLost:
            raise
        except duckdb.Error as error:
            raise TransferFailed(
                f"{folder}: expected the Parquet files of {table.full_name}, found something else, "
                f"or the cluster does not see them: {session.first_line(str(error))} "
                "The warehouse stays empty."
            ) from error

    def _copy_book_to(self, table: Table, folder: str) -> None:
        with tempfile.TemporaryDirectory(prefix="student_pipeline_") as local:
            self._books.write_out(table, f"{local}/{table.schema}/{table.name}")
            filesystem, path = fsspec.url_to_fs(folder)
            filesystem.makedirs(path, exist_ok=True)
            for file in Path(local, table.schema, table.name).iterdir():
                filesystem.put_file(str(file), f"{path}/{file.name}")

    def _copy_book_from(self, table: Table, folder: str, rows: int) -> None:
        with tempfile.TemporaryDirectory(prefix="student_pipeline_") as local:
            filesystem, _ = fsspec.url_to_fs(folder)
            for number, path in enumerate(_files_in(folder)):
                filesystem.get_file(path, f"{local}/{number}.parquet")
            self._books.read_in(table, local, rows=rows)


def _select(table: Table) -> str:
    return f"SELECT {sql.names(table.column_names)} FROM {table.full_name}"


def _for_cluster(folder: str) -> str:
    return folder if "://" in folder else f"file://{folder}"


def _files_in(folder: str) -> list[str]:
    """The Parquet files of a folder, as this process sees them."""
    filesystem, path = fsspec.url_to_fs(folder, use_listings_cache=False)
    return sorted(filesystem.glob(f"{path}/*.parquet"))
