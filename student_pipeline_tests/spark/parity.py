"""The same deliveries through both engines, and every cell compared.

    python -m student_pipeline_tests.spark.parity [--engine sail|spark] --attendance N [--runs 1|2|3]

The runs are the first load, a day upon it, and a full refresh of both. After each, every table, the
ledger, the state of the tables, what was told of each table, and what every check found are compared.
"""

from __future__ import annotations

import argparse
import os
import runpy
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import duckdb

from student_pipeline import definitions, tables
from student_pipeline.jobs import JOB_NAME
from student_pipeline.scope import WHOLE_UP_TO
from student_pipeline.spark.connection import ON_CLUSTER
from student_pipeline.spark.store import Store
from student_pipeline.tables import Table
from student_pipeline.warehouse import sql
from student_pipeline_tests.spark import deliveries, servers

FIRST = datetime(2026, 6, 30, 6, 0, tzinfo=timezone.utc)
"""The time of the first run; the others are a day apart."""

ENGINES_OWN = {"_id_hash", "run_id", "written_at", "made_by"}
"""Columns whose values no other engine, or no other run, can have."""

TOLD_BY_ALL = (
    "dagster/row_count", "rows_added", "rows_removed", "how", "files_found", "files_loaded",
    "files_refused", "rows_read", "rows_malformed", "bytes_read",
)  # fmt: skip
"""What a materialization tells that must be the same."""


@dataclass
class Side:
    """One engine, with a warehouse of its own.

    Attributes:
        remote: the Spark Connect server; empty: DuckDB.
    """

    folder: Path
    landing: Path
    remote: str = ""
    memory_limit: str = "1300MB"

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with patch.dict(
            os.environ,
            {
                "STUDENT_PIPELINE_ENGINE": "spark" if self.remote else "duckdb",
                "SPARK_REMOTE": self.remote,
            },
        ):
            # As Dagster loads it in a process of its own, where the settings name this engine.
            loaded = runpy.run_path(definitions.__file__)
        self._job = loaded["defs"].resolve_job_def(JOB_NAME)

    @property
    def warehouse(self) -> Path:
        return self.folder / ("warehouse" if self.remote else "warehouse.duckdb")

    def run(self, now: datetime, *, full_refresh: bool = False) -> dg.ExecuteInProcessResult:
        """Run the job, as the schedule would; a failed run is returned, not raised."""
        about: dict[str, Any] = {
            "database": str(self.warehouse),
            "full_refresh": full_refresh,
            "lock_timeout_seconds": 0,
        }
        about |= {"remote": self.remote} if self.remote else {"memory_limit": self.memory_limit}
        return self._job.execute_in_process(
            raise_on_error=False,
            run_config={
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                "resources": {
                    "landing": {
                        "config": {"url": str(self.landing), "fixed_time": now.isoformat()}
                    },
                    "warehouse": {"config": about},
                    "publish": {"config": {"path": str(self.folder / "published")}},
                    "rules": {"config": {}},
                },
            },
        )

    @contextmanager
    def relations(self) -> Iterator[tuple[duckdb.DuckDBPyConnection, dict[str, str]]]:
        """A DuckDB connection, and table -> its rows as SQL there; no cluster is asked."""
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET memory_limit = '3GB'")
            if self.remote:
                yield connection, cluster_relations(self.warehouse)
            else:
                connection.execute(f"ATTACH {sql.literal(str(self.warehouse))} AS duck (READ_ONLY)")
                names = connection.execute(
                    "SELECT schema_name || '.' || table_name FROM duckdb_tables() "
                    "WHERE database_name = 'duck'"
                ).fetchall()
                yield connection, {name: f"duck.{name}" for (name,) in names}


def cluster_relations(warehouse: Path) -> dict[str, str]:
    """Table -> its rows as DuckDB's SQL, read from the Parquet files that are in force."""
    catalog = Store(str(warehouse)).read()
    assert catalog
    found = {}
    for name, parts in catalog.tables.items():
        folders = [folder for folders in parts.values() for folder in folders]
        found[name] = _files(ON_CLUSTER[name], [warehouse / folder for folder in folders])
    for table in tables.OPS:
        if table is not tables.CHANGES:
            found[table.full_name] = (
                f"read_parquet('{warehouse}/{catalog.books}/{table.name}.parquet')"
            )
    return found


def _files(table: Table, folders: Sequence[Path]) -> str:
    files = [str(file) for folder in folders for file in sorted(folder.glob("*.parquet"))]
    if not files:
        nothing = ", ".join(
            f"CAST(NULL AS {'VARCHAR' if column.type == 'JSON' else column.type}) "
            f"AS {sql.identifier(column.name)}"
            for column in table.columns
        )
        return f"(SELECT {nothing} WHERE false)"
    listed = ", ".join(map(sql.literal, files))
    return f"read_parquet([{listed}], hive_partitioning = false, union_by_name = true)"


def differences(duck: Side, spark: Side) -> list[str]:
    """In what the two warehouses differ, one sentence each; empty where every cell is equal."""
    found = []
    with duck.relations() as (connection, theirs):
        ours = cluster_relations(spark.warehouse)
        for table in (*tables.TABLES.values(), tables.LATEST_ROSTER, tables.SOURCE_FILES,
                      tables.TABLE_STATE):  # fmt: skip
            name = table.full_name
            if (name in ours) != (name in theirs):
                found.append(
                    f"{name} is there only on {'the cluster' if name in ours else 'DuckDB'}."
                )
                continue
            if name not in ours:
                continue
            kinds = {
                row[0]: row[1]
                for row in connection.execute(f"DESCRIBE SELECT * FROM {ours[name]}").fetchall()
            }
            for column in table.columns:
                expected = {"JSON": "VARCHAR", "TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE"}.get(
                    column.type, column.type
                )
                if kinds.get(column.name) != expected:
                    found.append(
                        f"{name}.{column.name} is {kinds.get(column.name)}, not {expected}."
                    )
            cells = ", ".join(
                f"CAST({sql.identifier(column.name)} AS "
                f"{'VARCHAR' if column.type == 'JSON' else column.type}) AS "
                f"{sql.identifier(column.name)}"
                for column in table.columns
                if column.name not in ENGINES_OWN
            )
            for title, mine, others in (
                ("DuckDB", theirs[name], ours[name]),
                ("the cluster", ours[name], theirs[name]),
            ):
                only = f"SELECT {cells} FROM {mine} EXCEPT ALL SELECT {cells} FROM {others}"
                rows = connection.execute(
                    f"SELECT *, count(*) OVER () FROM ({only}) ORDER BY ALL LIMIT 3"
                ).fetchall()
                if rows:
                    shown = "; ".join(str(row[:-1]) for row in rows)
                    found.append(f"{name}: {rows[0][-1]:,} rows only on {title}: {shown}")
    return found


def told(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """What a run told of each table, and what each check found."""
    about: dict[str, Any] = {"succeeded": result.success}
    for event in result.all_events:
        if event.is_step_materialization and event.asset_key:
            metadata = event.step_materialization_data.materialization.metadata
            name = event.asset_key.to_user_string()
            about |= {
                f"{name}: {key}": value.value
                for key, value in metadata.items()
                if key in TOLD_BY_ALL or key.startswith("quarantined/")
            }
    for check in result.get_asset_check_evaluations():
        name = f"{check.asset_key.to_user_string()}: check {check.check_name}"
        sentence = "" if check.passed else check.description
        about[name] = (check.passed, check.severity.value, sentence)
    return about


def told_differently(duck: dict[str, Any], spark: dict[str, Any]) -> list[str]:
    """In what two runs differ by what they told, one sentence each.

    Of a large table DuckDB does less than a cluster, and may tell so: its checks look at what changed,
    and it judges rows again that have the hash of an id that was loaded.
    """
    return [
        f"{name}: DuckDB {duck.get(name)!r}, cluster {spark.get(name)!r}"
        for name in sorted(duck.keys() | spark.keys())
        if not _same(name, duck.get(name), spark.get(name), _is_large(name, duck))
    ]


def _is_large(name: str, told: Mapping[str, Any]) -> bool:
    rows = told.get(f"{name.split(':')[0]}: dagster/row_count")
    return rows is not None and rows > WHOLE_UP_TO


def _same(name: str, duck: Any, spark: Any, large: bool) -> bool:
    if not large or duck is None or spark is None:
        return bool(duck == spark)
    if ": check " in name:  # but for the sentence: how many it found
        return bool(duck[:2] == spark[:2])
    if name.endswith((": rows_added", ": rows_removed")):
        return bool(spark <= duck <= spark * 1.001)
    return bool(duck == spark)


def compare_runs(
    duck: Side,
    spark: Side,
    runs: Sequence[tuple[str, Callable[[], object], bool]],
    say: Callable[[str], object],
) -> list[str]:
    """Run both sides, one delivery after the other; return all differences.

    Args:
        runs: (name, what delivers, full refresh) of each run.
    """
    found = []
    for number, (name, deliver, full_refresh) in enumerate(runs):
        deliver()
        now = FIRST + timedelta(days=number)
        results = []
        for side in (duck, spark):
            started = time.monotonic()
            results.append(side.run(now, full_refresh=full_refresh))
            engine = "cluster" if side.remote else "DuckDB"
            say(f"{name}: {engine} {time.monotonic() - started:.1f} s")
        here = told_differently(*map(told, results)) + differences(duck, spark)
        if not results[0].success:
            here.append("the run failed on DuckDB")
        say(f"{name}: {f'{len(here)} differences' if here else 'every cell is equal'}")
        found += [f"{name}: {sentence}" for sentence in here]
    return found


def three_runs(landing: Path, attendance: int) -> list[tuple[str, Callable[[], object], bool]]:
    """The first load, a day, a full refresh."""
    return [
        ("first load", lambda: deliveries.history(landing, attendance), False),
        ("a day", lambda: deliveries.day(landing), False),
        ("full refresh", lambda: None, True),
    ]


@contextmanager
def server(engine: str, folder: Path) -> Iterator[str]:
    """The address of a server of this kind, which ends with the block, or of one that is there."""
    if engine == "sail":
        with servers.sail(folder / "sail.log") as remote:
            yield remote
        return
    if engine.startswith("sc://"):
        yield engine
        return
    with servers.spark_cluster(folder / "spark") as cluster:
        yield cluster.remote


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; 0 where every cell is equal, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m student_pipeline_tests.spark.parity", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--engine", default="sail", help="sail, spark, or the sc:// address of a server"
    )
    parser.add_argument("--attendance", type=int, default=20_000, metavar="N")
    parser.add_argument("--runs", type=int, choices=(1, 2, 3), default=3)
    parser.add_argument(
        "--folder", type=Path, help="where to work, and leave all; default: a new one"
    )
    options = parser.parse_args(arguments)
    if options.engine not in ("sail", "spark") and not options.engine.startswith("sc://"):
        parser.error(f"--engine: expected sail, spark or sc://…, found {options.engine}")
    folder = options.folder or Path(tempfile.mkdtemp(prefix="student_pipeline_parity_"))
    folder = folder.absolute()
    landing = folder / "landing"
    try:
        landing.mkdir(parents=True, exist_ok=True)
        with server(options.engine, folder) as remote:
            found = compare_runs(
                Side(folder / "duckdb", landing),
                Side(folder / "cluster", landing, remote),
                three_runs(landing, options.attendance)[: options.runs],
                lambda sentence: print(sentence, flush=True),
            )
    finally:
        if not options.folder:
            shutil.rmtree(folder, ignore_errors=True)
    for sentence in found:
        print(sentence)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
