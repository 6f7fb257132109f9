"""The run history while it is kept open: complete, readable by others, and whole after a kill."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import dagster as dg

from student_pipeline.history_files import kept_open

RUNS = 3


@dg.asset
def made() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"rows": 7})


def history(home: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_config(str(home))


def logs(home: Path) -> list[str]:
    """The write-ahead logs that lie there."""
    return sorted(path.name for path in home.rglob("*.db-wal"))


def test_everything_is_in_the_history_and_no_log_is_left(tmp_path: Path) -> None:
    with kept_open(), history(tmp_path) as instance:
        runs = [dg.materialize([made], instance=instance).run_id for _ in range(RUNS)]
        between = logs(tmp_path)
        with history(tmp_path) as another:  # reads as the UI does, while the run goes on
            assert len(another.get_run_records()) == RUNS
    assert {"runs.db-wal", "index.db-wal", *(f"{run}.db-wal" for run in runs)} <= {*between}
    assert logs(tmp_path) == []
    with history(tmp_path) as instance:
        found = instance.fetch_materializations(dg.AssetKey("made"), limit=10).records
        assert {record.run_id for record in found} == {*runs}
        for run in runs:
            ended = instance.get_run_by_id(run)
            assert ended
            assert ended.is_success


KILLED = """
import os, signal, sys
from pathlib import Path
from student_pipeline.history_files import kept_open
from student_pipeline_tests.test_history_files import history, made
import dagster as dg

with kept_open(), history(Path(sys.argv[1])) as instance:
    print(dg.materialize([made], instance=instance).run_id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_loses_no_event(tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "DAGSTER_HOME": str(tmp_path)},
    )
    assert killed.returncode == -signal.SIGKILL
    with history(tmp_path) as instance:
        ended = instance.get_run_by_id(killed.stdout.strip())
        assert ended
        assert ended.is_success
        assert len(instance.fetch_materializations(dg.AssetKey("made"), limit=10).records) == 1
    for file in tmp_path.rglob("*.db"):
        with sqlite3.connect(file) as reader:
            assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
