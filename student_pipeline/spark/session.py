"""Connecting to the cluster, and saying in a sentence what its errors mean."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlparse

import duckdb

from student_pipeline.spark.dialect import CONFIGURATION
from student_pipeline.spark.store import SCRATCH, Store

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

REMOTE = "SPARK_REMOTE"
OLDEST_SPARK = (4, 0)
"""Spark Connect of older versions lacks what the translated SQL uses."""

WRITING = {"spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS"}
"""Instants as other readers of Parquet know them; Spark's own old form has no time zone."""

CONNECT_SECONDS = 10
MOST_RETRIES = 6
"""How often a call that the network lost is tried again: within about half a minute."""


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
    host, port = _address(remote)
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql.connect.client.retries import DefaultPolicy
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
    session = None
    try:
        session = SparkSession.builder.remote(remote).create()
        session.client.set_retry_policies([DefaultPolicy(max_retries=MOST_RETRIES)])
        version = session.version
        found = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
        if found < OLDEST_SPARK:
            raise ClusterUnreachable(
                f"{REMOTE}: the server on {host}:{port} is Spark {version}; "
                f"expected {'.'.join(map(str, OLDEST_SPARK))} or later."
            )
        for name, value in {**CONFIGURATION, **WRITING}.items():
            session.conf.set(name, value)
    except ClusterUnreachable:
        end(session)
        raise
    except (PySparkException, OSError) as error:
        end(session)
        raise ClusterUnreachable(_refusal(f"{host}:{port}", error)) from error
    except Exception as error:
        import grpc

        if not isinstance(error, grpc.RpcError):
            raise
        end(session)
        raise ClusterUnreachable(_refusal(f"{host}:{port}", error)) from error
    return session


def end(session: SparkSession | None) -> None:
    """End a session, if there is one."""
    if session is not None:
        with suppress(Exception):  # the server that refused us need not answer this
            session.stop()


def _address(remote: str) -> tuple[str, int]:
    about = urlparse(remote)
    try:
        port = about.port or 15002
    except ValueError:
        port = 0
    if about.scheme != "sc" or not about.hostname or not port:
        raise ClusterUnreachable(
            f"{REMOTE}: expected the address of a Spark Connect server such as "
            f"sc://spark.example.org:15002, found {about.scheme + '://…' if remote else 'nothing'}."
        )
    return about.hostname, port


def _refusal(address: str, error: Exception) -> str:
    text = str(error)
    if re.search(r"UNAUTHENTICATED|PERMISSION_DENIED|[Tt]oken|401|403", text):
        return (
            f"{REMOTE}: the server on {address} refused us: wrong or missing token "
            f"(sc://HOST:PORT/;token=…)."
        )
    return f"{REMOTE}: the server on {address} gives no session: {first_line(text)}"


def require_shared(session: SparkSession, store: Store) -> None:
    """Write a row through the cluster, look at it from here, and read it back through the cluster.

    Raises:
        ClusterUnreachable: the cluster and we don't see the same folder.
    """
    folder = store.new_folder(SCRATCH, 0)
    place = store.for_cluster(folder)
    try:
        with told_as_ours():
            session.range(1).write.parquet(place)
            seen = store.exists(folder) and session.read.parquet(place).count() == 1
    except duckdb.Error as error:
        raise ClusterUnreachable(
            f"STUDENT_PIPELINE_WAREHOUSE: the cluster can't write to {store.url}, or read it: {error}"
        ) from error
    finally:
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
    from pyspark.errors import PySparkException

    try:
        yield
    except PySparkException as error:
        raise _ours(str(error)) from error
    except duckdb.Error:
        raise
    except Exception as error:
        import grpc

        if not isinstance(error, grpc.RpcError):
            raise
        raise _ours(str(error)) from error


_SENTENCES = (
    (
        r"PYTHON_VERSION_MISMATCH|Python versions? .*different|PYTHON_DRIVER_VERSION",
        "The workers of the cluster run another Python than this one: {line} Both must have the "
        "same minor version (PYSPARK_PYTHON on the workers).",
    ),
    (
        r"No module named '?(pyarrow|pandas|numpy)",
        "The Python of the workers lacks a package that Spark needs for Python functions: {line}",
    ),
)
_LOST = (
    r"UNAVAILABLE|failed to connect|Connection refused|Connection reset|Socket closed|"
    r"ExecutorLostFailure|executor.*(lost|exited)|worker.*lost|Master removed|SESSION_NOT_FOUND|"
    r"INVALID_HANDLE|SparkContext was shut down|RETRIES_EXCEEDED|Retries exceeded"
)


def _ours(text: str) -> duckdb.Error:
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
    return _short(next((line for line in text.splitlines() if line.strip()), "no reason given"))


def _short(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= 300 else f"{line[:300]}…"
