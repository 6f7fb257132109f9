"""The DuckDB warehouse as one end of a transfer (`student_pipeline.transfer`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from student_pipeline.disk import to_disk
from student_pipeline.fingerprint import Fingerprint, Words, expressions, fingerprint
from student_pipeline.permissions import make_private_folder, private
from student_pipeline.progress import say
from student_pipeline.settings import SettingsError
from student_pipeline.tables import CHANGES, Table
from student_pipeline.transfer import TransferFailed
from student_pipeline.warehouse import sql
from student_pipeline.warehouse.connection import connect
from student_pipeline.warehouse.reading import WarehouseMissing
from student_pipeline.warehouse.strategies import stored_columns

WORDS = Words(
    text="VARCHAR",
    identifier=sql.identifier,
    number_of=lambda text: f"CAST('0x' || substring(md5({text}), 1, 15) AS BIGINT)",
    microseconds_of=lambda instant: f"epoch_us({instant})",
)


WAIT_SECONDS = 1800.0
"""How long to wait for a run that holds the warehouse."""


@contextmanager
def opened(path: Path, *, read_only: bool) -> Iterator["DuckDBEngine"]:
    """The tables of a DuckDB file; meanwhile nobody writes it.

    Args:
        read_only: look only; otherwise the file is made when it is missing.

    Raises:
        WarehouseBusy: another process holds it for too long.
        WarehouseMissing: it is to be looked at and is not there, or is no DuckDB file.
        SettingsError: it can't be made.
    """
    if read_only and not path.is_file():
        raise WarehouseMissing(f"There is no warehouse {path} yet: run `student-pipeline run`.")
    with private():
        try:
            connection = connect(path, timeout_seconds=WAIT_SECONDS, tell=say, read_only=read_only)
        except OSError as error:
            raise SettingsError(
                f"STUDENT_PIPELINE_WAREHOUSE: {path} can't be written: {error.strerror}."
            ) from error
        except duckdb.Error as error:
            raise WarehouseMissing(
                f"The warehouse {path} can't be opened: {str(error).splitlines()[0]}"
            ) from error
        try:
            yield DuckDBEngine(connection, path)
        finally:
            connection.close()


PENDING = """(
    SELECT table_name, max(position) AS position, CAST(NULL AS VARCHAR) AS id,
    CAST(NULL AS VARCHAR) AS student_id, CAST(NULL AS VARCHAR) AS class_id, CAST(NULL AS DATE) AS date
    FROM ops.changes GROUP BY table_name)"""
"""The changes that not every reader has followed, without their keys: readers that are behind rebuild.

Engines keep the keys in different ways, and after a run that succeeded there are none.
"""


class DuckDBEngine:
    """Tables of a DuckDB file.

    Args:
        connection: with the macros, for reading or for writing.
        path: the file, for people.
    """

    name = f"DuckDB {duckdb.__version__}"

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        self._connection = connection
        self.place = str(path)

    def holds(self, table: Table) -> bool:
        stored = stored_columns(self._connection, table)
        if stored and stored != [(column.name, column.type) for column in table.columns]:
            raise TransferFailed(
                f"The columns of {table.full_name} are not those of this version of "
                "student-pipeline. `student-pipeline run` brings them up to date; then try again."
            )
        return bool(stored)

    def fingerprint(self, table: Table) -> Fingerprint:
        select = f"SELECT {', '.join(expressions(table, WORDS))} FROM {_relation(table)}"
        return fingerprint(table, self._connection.execute(select).fetchall()[0])

    def require_folder(self, folder: str) -> None:
        if "://" in folder:
            raise SettingsError(
                f"Expected a folder of this machine, found {folder}: DuckDB writes and reads exports "
                "there. Copy the folder from or to the object store."
            )

    def write_out(self, table: Table, folder: str) -> None:
        try:
            Path(folder).parent.parent.mkdir(parents=True, exist_ok=True)
            make_private_folder(Path(folder).parent)
            make_private_folder(Path(folder))
        except OSError as error:
            raise SettingsError(f"{folder} can't be written: {error.strerror}.") from error
        columns = ", ".join(
            f"CAST({sql.identifier(column.name)} AS VARCHAR) AS {sql.identifier(column.name)}"
            if column.type == "JSON"  # a type that other engines don't have
            else sql.identifier(column.name)
            for column in table.columns
        )
        file = Path(folder) / "part-0.parquet"
        self._connection.execute(
            f"COPY (SELECT {columns} FROM {_relation(table)}) TO {sql.literal(str(file))} "
            "(FORMAT parquet, COMPRESSION zstd)"
        )
        to_disk(file)

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
        self._connection.execute(table.ddl())
        if not rows:
            return
        columns = ", ".join(
            f"id_hash({sql.identifier(table.key[0])}) AS _id_hash"
            if column.name == "_id_hash"
            else f"CAST({sql.identifier(column.name)} AS {column.type}) "
            f"AS {sql.identifier(column.name)}"
            for column in table.columns
        )
        order = f" ORDER BY {sql.names(table.order_by)}" if table.order_by else ""
        try:
            self._connection.execute(
                f"INSERT INTO {table.full_name} BY NAME SELECT {columns} "
                f"FROM read_parquet({sql.literal(f'{folder}/*.parquet')}){order}"
            )
        except (duckdb.IOException, duckdb.BinderException, duckdb.InvalidInputException) as error:
            raise TransferFailed(
                f"{folder}: expected the Parquet files of {table.full_name}, found something else: "
                f"{str(error).splitlines()[0]} The warehouse stays empty."
            ) from error


def _relation(table: Table) -> str:
    return PENDING if table is CHANGES else table.full_name
