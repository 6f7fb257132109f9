"""Connecting to the cluster, and saying in a sentence what its errors mean."""

from __future__ import annotations

import re
import socket
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import duckdb

from student_pipeline.settings import SettingsError
from student_pipeline.spark.dialect import CONFIGURATION
from student_pipeline.spark.remote import REMOTE, address
from student_pipeline.spark.store import SCRATCH, Store

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

OLDEST_SPARK = (4, 0)
"""Spark Connect of older versions lacks what the translated SQL uses."""

FILES = {
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.files.ignoreCorruptFiles": "false",
}
"""Instants as other readers of Parquet know them, for Spark's own old form has no time zone; and no row
is passed over in silence."""

CONNECT_SECONDS = 10
FIRST_RETRIES, MOST_RETRIES = 2, 5
"""How often the first call, and any other, is tried again where the network lost it: within about one
second, and a quarter of a minute. (pyspark's own 15 take more than ten minutes.)"""

WORKER_SECONDS = 300.0
"""How long the first statement, a tiny one, may wait for a worker. (Later ones wait without a limit:
Spark gives the work of a lost worker to others, and waits where more are to come.)"""


class ClusterUnreachable(Exception):
    """There is no session on the cluster. The message is a sentence."""


class ClusterError(duckdb.Error):
    """The cluster could not do what it was asked. One of DuckDB's errors, which callers know."""


class ClusterLost(duckdb.IOException):
    """The cluster, or a part of it, went away; another try may find it."""


class NotMade(duckdb.CatalogException):
    """A table that was never written was asked for."""


def connect(remote: str) -> SparkSession:
    """A session of its own on the Spark Connect server, with the settings that results depend on.

    Raises:
        ClusterUnreachable: there is no server, it refuses us, or it is of another version.
    """
    try:
        host, port = address(remote)
    except SettingsError as error:
        raise ClusterUnreachable(str(error)) from error
    name_main()
    try:
        from pyspark.sql.connect.session import SparkSession
    except ImportError as error:
        raise ClusterUnreachable(
            f"The Spark engine wants the package {error.name}: pip install 'student-pipeline[spark]'."
        ) from error
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
            pass
    except OSError as error:
        raise ClusterUnreachable(
            f"{REMOTE}: there is no Spark Connect server on {host}:{port} "
            f"({error.strerror or error})."
        ) from error
    # What comes of it is told by an error of ours.
    warnings.filterwarnings("ignore", message=r"\[RETRIES_EXCEEDED\]")
    session = None
    try:
        session = SparkSession.builder.remote(remote).create()
        _retry(session, FIRST_RETRIES)
        version = session.version
        found = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
        if found < OLDEST_SPARK:
            raise ClusterUnreachable(
                f"{REMOTE}: the server on {host}:{port} is Spark {version}; "
                f"expected {'.'.join(map(str, OLDEST_SPARK))} or later."
            )
        for name, value in {**CONFIGURATION, **FILES}.items():
            session.conf.set(name, value)
    except ClusterUnreachable:
        end(session)
        raise
    except Exception as error:
        end(session)
        if not _is_of_cluster(error):
            raise
        raise ClusterUnreachable(_refusal(f"{host}:{port}", str(error))) from error
    _retry(session, MOST_RETRIES)
    return session


def name_main() -> None:
    """Have the main module a file; to be called before pyspark's Connect is imported.

    In the process of a run that the UI starts it has none. pyspark takes that for a run of its own
    doctests, and ends the process.
    """
    main = sys.modules["__main__"]
    if not hasattr(main, "__file__"):
        main.__file__ = __file__


def _retry(session: SparkSession, times: int) -> None:
    """Have lost calls tried again so many times."""
    from pyspark.sql.connect.client.retries import DefaultPolicy

    session.client.set_retry_policies([DefaultPolicy(max_retries=times)])


def _is_of_cluster(error: Exception) -> bool:
    """Whether an error tells of the cluster, or of the way to it."""
    import grpc
    from pyspark.errors import PySparkException

    return isinstance(error, (PySparkException, grpc.RpcError, OSError))


def end(session: SparkSession | None) -> None:
    """End a session, if there is one."""
    if session is not None:
        with suppress(Exception):  # a server that refused us, or is gone, need not answer
            _retry(session, 0)
            session.stop()


def _refusal(address: str, error: str) -> str:
    """Why there is no session, from what the way to the server, or the server, says."""
    said = first_line(error)
    for pattern, sentence in _REFUSALS:
        if re.search(pattern, error):
            return f"{REMOTE}: the server on {address} {sentence} ({said})"
    return f"{REMOTE}: the server on {address} gives no session: {said}"


_REFUSALS = (
    (
        r"UNAUTHENTICATED|PERMISSION_DENIED",
        "refused us: the token is wrong or missing; expected sc://HOST:PORT/;token=….",
    ),
    (
        r"[Hh]andshake|SSL_ERROR|CERTIFICATE_VERIFY",
        "did not agree on TLS, which a token or use_ssl=true asks for (but not to localhost); expected "
        "a server, or a proxy before it, with a certificate that this machine trusts.",
    ),
    (
        r"UNIMPLEMENTED|parsing HTTP|HTTP proxy|\b404\b",
        "is no Spark Connect server.",
    ),
)


def require_shared(session: SparkSession, store: Store) -> None:
    """Write a row through the cluster, look at it from here, and read it back through the cluster.

    Raises:
        ClusterUnreachable: the cluster and we don't see the same folder, or it has no workers.
    """
    folder = store.new_folder(SCRATCH, 0)
    place = store.for_cluster(folder)
    late = threading.Event()

    def give_up() -> None:
        late.set()
        session.interruptAll()

    timer = threading.Timer(WORKER_SECONDS, give_up)
    timer.daemon = True
    timer.start()
    try:
        with told_as_ours():
            session.range(1).write.parquet(place)
            seen = store.exists(folder) and session.read.parquet(place).count() == 1
    except duckdb.Error as error:
        if late.is_set():
            raise ClusterUnreachable(
                f"{REMOTE}: the server answers, but for {WORKER_SECONDS:g} seconds no worker took up "
                "the work. Are there workers, and is there room on them?"
            ) from None
        raise ClusterUnreachable(
            f"STUDENT_PIPELINE_WAREHOUSE: the cluster can't write to {store.url}, or read it: {error}"
        ) from error
    finally:
        timer.cancel()
        with suppress(OSError):
            store.remove(folder)
    if not seen:
        raise ClusterUnreachable(
            f"STUDENT_PIPELINE_WAREHOUSE: what the cluster writes to {store.url} can't be seen from "
            "here. It must be the same folder, or object store, for this process and every worker."
        )


@contextmanager
def told_as_ours() -> Iterator[None]:
    """Within: what the cluster raises becomes one of our errors, with a sentence that says where.

    Raises:
        ClusterLost: the server or a worker went away.
        ClusterError: anything else that the cluster says.
    """
    try:
        yield
    except duckdb.Error:
        raise
    except Exception as error:
        if isinstance(error, OSError) or not _is_of_cluster(error):
            raise
        raise _ours(str(error)) from None  # its text may quote what is in a column


_SENTENCES = (
    (
        r"PYTHON_VERSION_MISMATCH|Python versions? .*different|PYTHON_DRIVER_VERSION",
        "The workers of the cluster run another Python than this one: {line} Both must have the "
        "same minor version (PYSPARK_PYTHON on the workers).",
    ),
    (
        r"Error from python worker",
        "The Python of the workers (PYSPARK_PYTHON) does not start: {line}",
    ),
    (
        r"ModuleNotFoundError|No module named",
        "The Python of the workers (PYSPARK_PYTHON) lacks a package: {line} Functions of Spark want "
        "pyarrow and pandas there, Parquet sources duckdb, and sources in an object store fsspec with "
        "its file system, such as s3fs.",
    ),
)
_LOST = (
    r"UNAVAILABLE|failed to connect|Connection refused|Connection reset|Socket closed|"
    r"ExecutorLostFailure|executor.*(lost|exited)|worker.*lost|Master removed|SESSION_NOT_FOUND|"
    r"INVALID_HANDLE|SparkContext was shut down|RETRIES_EXCEEDED|Retries exceeded"
)


def _ours(text: str) -> duckdb.Error:
    text = re.sub(r":\s*\n\s*", ": ", text)  # "org.apache.spark.SparkException:" alone says nothing
    for pattern, sentence in _SENTENCES:
        if re.search(pattern, text):
            return ClusterError(sentence.format(line=_around(text, pattern)))
    if re.search(_LOST, text):
        return ClusterLost(f"The cluster, or a worker of it, was lost: {first_line(text)}")
    return ClusterError(first_line(text))


def _around(text: str, pattern: str) -> str:
    """The line in which a pattern stands."""
    line = next((line for line in text.splitlines() if re.search(pattern, line)), "")
    return _short(line)


def first_line(text: str) -> str:
    """What an error of the cluster says first, without stack traces of its own."""
    details = re.search(r'\bdetails = "(.*)"', text)  # of an error of gRPC itself
    if details:
        return _short(details[1])
    return _short(next((line for line in text.splitlines() if line.strip()), "no reason given"))


def _short(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= 300 else f"{line[:300]}…"
