"""Which engine keeps the tables: DuckDB in this process, or a Spark cluster. Only here it is chosen.

Modules that a choice needs are imported where it is made: a run on DuckDB loads nothing of Spark.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from student_pipeline.permissions import make_private_folder
from student_pipeline.settings import SettingsError

if TYPE_CHECKING:
    import duckdb

    from student_pipeline.transfer import Engine

ENGINE = "STUDENT_PIPELINE_ENGINE"
DUCKDB, SPARK = "duckdb", "spark"

_PACKAGES = {DUCKDB: (), SPARK: ("pyspark", "sqlglot")}
"""Engine -> the packages that come with it alone."""

WAREHOUSE = "STUDENT_PIPELINE_WAREHOUSE"
REMOTE = "SPARK_REMOTE"


def name() -> str:
    """The engine that the settings name.

    Raises:
        SettingsError: there is none of that name, or what it needs is not installed.
    """
    named = os.environ.get(ENGINE) or DUCKDB
    if named not in (DUCKDB, SPARK):
        raise SettingsError(f"{ENGINE}: expected {DUCKDB} or {SPARK}, found '{named}'.")
    missing = [package for package in _PACKAGES[named] if find_spec(package) is None]
    if missing:
        raise SettingsError(
            f"{ENGINE}: {named} needs {' and '.join(missing)}: pip install 'student-pipeline[{named}]'."
        )
    return named


def resources() -> dict[str, Any]:
    """The Dagster resources `warehouse` and `io_manager`."""
    import dagster as dg

    database = dg.EnvVar(WAREHOUSE)
    # Configured at launch: what the launchpad says then holds for whatever nests it.
    if name() == SPARK:
        from student_pipeline.spark.io_manager import SparkIOManager
        from student_pipeline.spark.warehouse import SparkWarehouse

        cluster = SparkWarehouse.configure_at_launch(database=database, remote=dg.EnvVar(REMOTE))
        return {"warehouse": cluster, "io_manager": SparkIOManager(warehouse=cluster)}
    from student_pipeline.warehouse.connection import Warehouse
    from student_pipeline.warehouse.io_manager import WarehouseIOManager

    file = Warehouse.configure_at_launch(database=database)
    return {"warehouse": file, "io_manager": WarehouseIOManager(warehouse=file)}


def require_warehouse() -> None:
    """Raise `SettingsError` or `OSError` unless the warehouse is there, or can be made."""
    place = os.environ[WAREHOUSE]
    if name() == SPARK:
        _require_folder(place)
    else:
        _require_file(Path(place))


def _remote() -> str:
    """The address of the Spark Connect server.

    Raises:
        SettingsError: none is set, or it is no such address.
    """
    remote = os.environ.get(REMOTE)
    if not remote:
        raise SettingsError(
            f"{REMOTE} is not set; with {ENGINE}={SPARK} it names the Spark Connect server, "
            "such as sc://spark.example.org:15002."
        )
    from student_pipeline.spark.remote import address

    address(remote)
    return remote


def _require_folder(place: str) -> None:
    _remote()
    if "://" in place:
        return
    folder = Path(place)
    if not folder.is_absolute():
        raise SettingsError(
            f"{WAREHOUSE}: {place} is no absolute path; the cluster has another working folder."
        )
    if folder.exists() and not folder.is_dir():
        raise SettingsError(
            f"{WAREHOUSE}: {place} is a file; with {ENGINE}={SPARK} it is a folder of tables."
        )
    make_private_folder(folder)
    with tempfile.TemporaryFile(dir=folder):
        pass


def _require_file(warehouse: Path) -> None:
    """Raise `SettingsError` or `OSError` unless it is, or can become, a DuckDB file."""
    make_private_folder(warehouse.parent)
    with tempfile.TemporaryFile(dir=warehouse.parent):
        pass  # the folder takes files: DuckDB writes its log beside the warehouse
    if not warehouse.exists():
        return
    if warehouse.is_dir():
        raise SettingsError(f"{WAREHOUSE}: {warehouse} is a folder; expected a DuckDB file.")
    with warehouse.open("r+b") as file:
        head = file.read(12)
    if head and head[8:] != b"DUCK":
        raise SettingsError(f"{WAREHOUSE}: {warehouse} is not a DuckDB file.")


@contextmanager
def copies(place: str, selects: Mapping[str, str]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory with copies of what is asked for, to look at beside the runs.

    Args:
        place: the warehouse.
        selects: name of the copy -> a SELECT on a table of the warehouse. Of a table that is not
            there, there is no copy.

    Raises:
        WarehouseBusy: it can't be looked at now; the message says who holds it, or what is wrong.
        WarehouseMissing: there is no such warehouse.
    """
    if name() == SPARK:
        from student_pipeline.spark.copies import copies as of_cluster

        with of_cluster(place, _remote(), selects) as copied:
            yield copied
        return
    from student_pipeline.warehouse.reading import copies as of_file

    with of_file(Path(place), selects) as copied:
        yield copied


@contextmanager
def opened(place: str, *, read_only: bool) -> Iterator[Engine]:
    """The tables of a warehouse, to be moved or compared; meanwhile no run writes them.

    Args:
        place: the warehouse.
        read_only: look only; otherwise the warehouse is made when it is missing.

    Raises:
        WarehouseBusy: a run holds it for too long, or the cluster can't be asked.
        WarehouseMissing: it is to be looked at and is not there, or can't be read.
        SettingsError: it can't be made.
    """
    if name() == SPARK:
        from student_pipeline.spark.moving import opened as of_cluster

        with of_cluster(place, _remote(), read_only=read_only) as engine:
            yield engine
        return
    from student_pipeline.warehouse.moving import opened as of_file

    with of_file(Path(place), read_only=read_only) as engine:
        yield engine


def describe(place: str) -> str:
    """The warehouse and its size, for a person."""
    if name() == SPARK:
        return f"{place}, on Spark"
    return f"{place}, {Path(place).stat().st_size / 1e6:,.1f} MB"
