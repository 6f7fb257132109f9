"""A run that is killed leaves every table on the cluster as it was or as it shall be, and the next run
ends as if nothing had been."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from student_pipeline import tables
from student_pipeline.settings import PROJECT_ROOT
from student_pipeline.spark.store import Store
from student_pipeline.warehouse import sql
from student_pipeline_tests.spark import deliveries, parity
from student_pipeline_tests.spark.parity import FIRST, Side

ROWS = 400
DAY = FIRST + timedelta(days=1)

RUN = """
import sys
from datetime import datetime
from pathlib import Path
from student_pipeline_tests.spark.parity import Side
folder, landing, remote, now = sys.argv[1:]
Side(Path(folder), Path(landing), remote).run(datetime.fromisoformat(now))
"""


def start(side: Side) -> subprocess.Popen[bytes]:
    """The run of the day, in a process group of its own."""
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            RUN,
            str(side.folder),
            str(side.landing),
            side.remote,
            DAY.isoformat(),
        ],
        cwd=side.folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)},
        start_new_session=True,
    )


def version(side: Side) -> int:
    """How many changes are in force."""
    catalog = Store(str(side.warehouse)).read()
    assert catalog
    return catalog.version


def content(side: Side) -> dict[str, list[tuple[Any, ...]]]:
    """What changes at once -> its rows; a quarantine table takes malformed records when bronze is
    loaded, and refused rows when silver is made."""
    found = {}
    with side.relations() as (connection, relations):
        for table in tables.TABLES.values():
            if table.full_name not in relations:
                continue
            names = sql.names([n for n in table.column_names if n not in parity.ENGINES_OWN])
            malformed = "reason = 'malformed_record'"
            for part in (
                (malformed, f"NOT {malformed}") if table.schema == "quarantine" else ("true",)
            ):
                found[f"{table.full_name} WHERE {part}"] = connection.execute(
                    f"SELECT {names} FROM {relations[table.full_name]} WHERE {part} ORDER BY ALL"
                ).fetchall()
    return found


def test_killed_again_and_again(tmp_path: Path, spark_remote: str) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    deliveries.history(landing, ROWS)
    old, new = Side(tmp_path / "old", landing), Side(tmp_path / "new", landing)
    spark = Side(tmp_path / "spark", landing, spark_remote)
    assert old.run(FIRST).success
    assert spark.run(FIRST).success
    shutil.copy(old.warehouse, new.warehouse)
    deliveries.day(landing)
    assert new.run(DAY).success
    before, after = content(old), content(new)
    stands, killed = version(spark), 0
    # After the first change of the run, the next ones, and between two changes at whatever instant.
    for changes, seconds in ((0, 4.0), (1, 0.0), (3, 0.3), (2, 0.05), (4, 0.6), (1, 0.2)):
        going = start(spark)
        while version(spark) < stands + changes and going.poll() is None:
            time.sleep(0.005)
        time.sleep(seconds)
        killed += going.poll() is None
        os.killpg(going.pid, signal.SIGKILL)
        going.wait()
        stands = version(spark)
        for name, rows in content(spark).items():
            assert rows in (before[name], after[name]), (name, changes, seconds)
    assert killed == 6
    assert spark.run(DAY).success
    assert content(spark) == after
    # Nothing is left of what was killed.
    catalog = Store(str(spark.warehouse)).read()
    assert catalog
    again = spark.run(DAY + timedelta(days=1))
    assert again.success
    assert not (spark.warehouse / "scratch").exists()
    kept = catalog.folders()
    for name in ("bronze/attendance", "silver/fact_attend", "gold/class_daily_performance"):
        for folder in (spark.warehouse / name).iterdir():
            inside = {
                f"{name}/{folder.name}",
                *(f"{name}/{folder.name}/{part.name}" for part in folder.iterdir()),
            }
            assert inside & kept, folder
