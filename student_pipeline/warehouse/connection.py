"""The one place that opens the DuckDB file, and waits for it when another process has it."""

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
from dagster import (
    Backoff,
    Failure,
    InitResourceContext,
    Jitter,
    OpExecutionContext,
    RetryPolicy,
    RetryRequested,
    get_dagster_logger,
)
from dagster_duckdb import DuckDBResource
from pydantic import Field, PrivateAttr

from student_pipeline.permissions import PRIVATE_FILE, make_private_folder, private
from student_pipeline.tables import OPS, Table
from student_pipeline.warehouse import sql
from student_pipeline.warehouse.compaction import compact_when_it_pays
from student_pipeline.warehouse.strategies import ensure_tables

SCHEMAS = ("ops", "bronze", "silver", "quarantine", "gold")

RETRIES = RetryPolicy(max_retries=3, delay=1, backoff=Backoff.EXPONENTIAL, jitter=Jitter.PLUS_MINUS)
"""How often, and after how many seconds, a step is tried again when its error can pass."""


class WarehouseBusy(Exception):
    """Another process holds the warehouse and did not let go in time."""


class Warehouse(DuckDBResource):
    """The DuckDB file. A run opens it once, at its first use, and closes it at its end.

    DuckDB lets one process write: a second run waits here for the first to end.
    """

    memory_limit: str = Field(
        default="1300MB", description="DuckDB's memory limit; what does not fit goes to disk."
    )
    lock_timeout_seconds: float = Field(
        default=1800,
        ge=0,
        description="How long a run waits for another process that has the file open.",
    )
    full_refresh: bool = Field(
        default=False,
        description="Rebuild silver, quarantine and gold from bronze.",
    )

    _connection: duckdb.DuckDBPyConnection | None = PrivateAttr(default=None)
    _gave_up: str | None = PrivateAttr(default=None)

    @property
    def path(self) -> Path:
        """The DuckDB file."""
        return Path(self.database)

    @contextmanager
    def yield_for_execution(self, context: InitResourceContext) -> Iterator["Warehouse"]:
        with private():
            try:
                yield self
                if self._connection is not None:
                    compact_when_it_pays(self._connection, self.path, get_dagster_logger().info)
                    self._connection = None
            finally:
                self.close()

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        self._gave_up = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The run's connection, opened when it is not yet; it stays open until the run ends.

        Raises:
            Failure: the file is held by another process for too long, or is no DuckDB file.
        """
        if self._gave_up:  # a run waits once, not once a step
            raise Failure(self._gave_up, allow_retries=False)
        if self._connection is None:
            try:
                self._connection = connect(
                    self.path,
                    timeout_seconds=self.lock_timeout_seconds,
                    memory_limit=self.memory_limit,
                    tell=get_dagster_logger().info,
                )
            except (WarehouseBusy, duckdb.Error, OSError) as error:
                self._gave_up = _sentence(self.path, error)
                raise Failure(self._gave_up, allow_retries=False) from error
        yield self._connection

    @contextmanager
    def copied(self, wanted: Sequence[Table]) -> Iterator[duckdb.DuckDBPyConnection]:
        """A DuckDB that has these tables, for what is written as files: here the warehouse."""
        with self.get_connection() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The run's connection inside one transaction: all of it is kept, or nothing."""
        with self.get_connection() as connection:
            connection.begin()
            try:
                yield connection
                _commit(connection)
            except BaseException:
                try:
                    connection.rollback()
                except duckdb.Error:  # there is none any more; the next use opens the file anew
                    self.close()
                raise


def _commit(connection: duckdb.DuckDBPyConnection) -> None:
    try:
        connection.commit()
    except duckdb.TransactionException as error:  # with one writer, nothing else can fail it
        raise duckdb.IOException(str(error)) from error


@contextmanager
def tried_again_if_it_can_pass() -> Iterator[None]:
    """Within a step: have Dagster try the step again, with backoff, after an error that can pass.

    That is an I/O error, or a `Failure` that allows retries (a file changed while it was read).
    A retry policy on the assets would do so after any error: bad data, our own bugs, Ctrl-C.

    Raises:
        RetryRequested: the error can pass.
        KeyboardInterrupt: the run was interrupted while DuckDB worked, which hides that.
    """
    try:
        yield
    except (Failure, OSError, duckdb.IOException) as error:
        if isinstance(error, Failure) and not error.allow_retries:
            raise
        attempt = OpExecutionContext.get().retry_number + 1
        raise RetryRequested(RETRIES.max_retries, RETRIES.calculate_delay(attempt)) from error
    except RuntimeError as error:
        if str(error) == "Query interrupted":
            raise KeyboardInterrupt from error
        raise


def sentence_of(error: duckdb.Error) -> str:
    """What DuckDB says, without the values that it quotes: a student's name must not be logged."""
    message, _, excerpt = str(error).partition("\n\nLINE ")
    if isinstance(error, (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)):
        return f"{message}\nLINE {excerpt}" if excerpt else message  # of the SQL, not of the data
    return " ".join(re.sub(r"'.*'|\".*\"", "'…'", message, flags=re.DOTALL).split())


def connect(
    path: Path,
    *,
    timeout_seconds: float = 0,
    memory_limit: str = "1300MB",
    tell: Callable[[str], object] = lambda message: None,
    read_only: bool = False,
) -> duckdb.DuckDBPyConnection:
    """Open the warehouse, with its schemas and macros, waiting while another process holds it.

    Args:
        path: the DuckDB file; it and its folder are made when missing.
        timeout_seconds: how long to wait.
        memory_limit: as DuckDB writes it, e.g. `2GB`.
        tell: is given a sentence, once, when there is a wait.
        read_only: look only; nothing is made.

    Raises:
        WarehouseBusy: the wait was in vain; the message names the process.
        duckdb.Error: the file is no DuckDB file, or is of another version.
        OSError: the folder can't be made.
    """
    if not read_only:
        make_private_folder(path.parent)
        if not path.exists():
            _create(path)
    connection = _open_patiently(path, read_only, timeout_seconds, tell)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET memory_limit = {sql.literal(memory_limit)}")
        connection.execute("SET autoinstall_known_extensions = false")
        # DuckDB tries it on every text that it stores, and takes another way for texts as short.
        connection.execute("SET disabled_compression_methods = 'zstd'")
        connection.execute(sql.macros())
        if not read_only:
            for schema in SCHEMAS:
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            ensure_tables(connection, "ops", OPS)
    except BaseException:
        connection.close()
        raise
    return connection


def _create(path: Path) -> None:
    """Make an empty warehouse, whole at once: a half-written file could never be opened again."""
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        duckdb.connect(draft).close()
        draft.chmod(PRIVATE_FILE)
        # Unlike a rename, a link never replaces what another run just made. Where the file system
        # has none, DuckDB makes the file when it opens it.
        with suppress(OSError):
            os.link(draft, path)


def _open_patiently(
    path: Path, read_only: bool, timeout_seconds: float, tell: Callable[[str], object]
) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + timeout_seconds
    pause = 0.05
    told = False
    while True:
        try:
            return _open(path, read_only)
        except duckdb.IOException as error:
            if "Could not set lock" not in str(error):
                raise
            holder = holder_of(str(error))
            if time.monotonic() >= deadline:
                raise WarehouseBusy(
                    f"The warehouse {path} is in use by {holder}, which did not let go of it "
                    f"within {timeout_seconds:g} seconds. Nothing was changed."
                ) from error
            if not told:
                tell(f"Waiting for the warehouse {path}: it is in use by {holder}.")
                told = True
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)


def _open(path: Path, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Open the file that has this name now, not one that a compact copy has just replaced."""
    while True:
        before = _inode(path)
        connection = duckdb.connect(path, read_only=read_only)
        if before in (None, _inode(path)):
            return connection
        connection.close()


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def holder_of(message: str) -> str:
    """Who holds the lock, from DuckDB's message: `... held in /usr/bin/python3 (PID 123)`."""
    found = re.search(r"held in (?P<program>.+?) \(PID (?P<pid>\d+)\)", message)
    if not found:
        return "another process"
    program = os.path.basename(found["program"])
    return f"process {found['pid']} ({program})"


def _sentence(path: Path, error: Exception) -> str:
    if isinstance(error, WarehouseBusy):
        return str(error)
    reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
    return f"The warehouse {path} can't be opened: {reason}"
