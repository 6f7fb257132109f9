"""A run that is killed leaves every table old or new, and the next run ends as if nothing was."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from student_pipeline import tables
from student_pipeline.sample_data import write_sample
from student_pipeline_tests.pipeline import School

SMALL = {"students": 80, "attendance": 600, "assessments": 300}


def content(school: School, table: tables.Table) -> list[tuple[Any, ...]]:
    """A table's rows but for when and by which load they came."""
    kept = ", ".join(n for n in table.column_names if n not in ("_ingested_at", "_load_id"))
    return school.query(f"SELECT {kept} FROM {table.full_name} ORDER BY ALL")


def start(school: School, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start `student-pipeline run` as a process of its own."""
    environment = {
        **os.environ,
        "STUDENT_PIPELINE_SOURCE": str(school.landing),
        "STUDENT_PIPELINE_WAREHOUSE": str(school.warehouse),
        "STUDENT_PIPELINE_PUBLISH": str(school.published),
        "DAGSTER_HOME": str(school.folder / "dagster_home"),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "student_pipeline.cli", "run", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


@pytest.mark.parametrize("line", ["bronze/attendance", "silver/fact_attend"])
def test_killed_when_it_has_said_so_much(tmp_path: Path, line: str) -> None:
    undisturbed, killed = School(tmp_path / "undisturbed"), School(tmp_path / "killed")
    for seed in (1, 2):  # the second delivery meets tables that have rows
        for school in (undisturbed, killed):
            write_sample(school.landing / "students" / str(seed), seed=seed, **SMALL)
            for file in (school.landing / "students" / str(seed)).iterdir():
                file.rename(school.landing / f"{file.stem}_{seed}{file.suffix}")
        process = start(killed)
        assert process.stdout is not None
        for said in process.stdout:
            if line in said.decode():
                time.sleep(0.01 * seed)
                break
        os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait()

        finished = start(killed)
        output, _ = finished.communicate(timeout=120)
        assert finished.returncode == 0, output.decode()
        assert undisturbed.run().success
        for table in tables.TABLES.values():
            assert content(killed, table) == content(undisturbed, table), table.full_name
