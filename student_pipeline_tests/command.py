"""Running `student-pipeline` as a user does: a process of its own, in folders of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from student_pipeline.settings import PROJECT_ROOT

PLENTY_OF_SECONDS = 300
"""No command takes this long, on the busiest machine."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def run_id(self) -> str:
        found = re.search(r"^Run ([0-9a-f-]{36}): ", self.out, re.MULTILINE)
        assert found, self.out
        return found[1]

    @property
    def summary(self) -> dict[str, dict[str, str]]:
        """Asset -> column -> cell of the table at the end."""
        lines = self.out.splitlines()
        start = next(number for number, line in enumerate(lines) if line.startswith("asset "))
        rule = lines[start + 1]
        columns = [match.span() for match in re.finditer("-+", rule)]
        cells = [[line[a:b].strip() for a, b in columns] for line in lines[start:]]
        table = {}
        for row in cells[2:]:
            if not row[0]:
                break
            table[row[0]] = dict(zip(cells[0][1:], row[1:], strict=True))
        return table


@dataclass(frozen=True)
class Installation:
    """The places of one school, and the environment that names them."""

    folder: Path

    @property
    def landing(self) -> Path:
        return self.folder / "landing"

    @property
    def warehouse(self) -> Path:
        return self.folder / "warehouse.duckdb"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def environment(self, **more: str) -> dict[str, str]:
        return clean_environment() | {
            "STUDENT_PIPELINE_SOURCE": str(self.landing),
            "STUDENT_PIPELINE_WAREHOUSE": str(self.warehouse),
            "STUDENT_PIPELINE_PUBLISH": str(self.folder / "published"),
            "DAGSTER_HOME": str(self.home),
            **more,
        }

    def deliver(self, name: str, content: str) -> Path:
        path = self.landing / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return path

    def command(
        self, *arguments: str, cwd: Path | str | None = None, **environment: str
    ) -> Outcome:
        """Run `student-pipeline` with these arguments (and variables) to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "student_pipeline.cli", *arguments],
            cwd=cwd or self.folder,
            env=self.environment(**environment),
            capture_output=True,
            encoding="utf-8",
            timeout=PLENTY_OF_SECONDS,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, nohup: bool = False) -> "subprocess.Popen[str]":
        """Start `student-pipeline` as a terminal does, or as `nohup` if that is asked for."""
        hangup = "SIG_IGN" if nohup else "SIG_DFL"  # whatever the tests were started by
        # Not by `preexec_fn`: a forked copy of the tests dies where gRPC's threads are in them.
        words = [sys.executable, "-m", "student_pipeline.cli", *arguments]
        start = (
            f"import os, signal; signal.signal(signal.SIGHUP, signal.{hangup}); "
            f"os.execv({sys.executable!r}, {words!r})"
        )
        return subprocess.Popen(
            [sys.executable, "-c", start],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    @contextmanager
    def history(self) -> Iterator[dg.DagsterInstance]:
        """The Dagster instance of `DAGSTER_HOME`."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DAGSTER_HOME", str(self.home))
            with dg.DagsterInstance.get() as instance:
                yield instance

    def status_of(self, run_id: str) -> dg.DagsterRunStatus | None:
        """What the history says of a run."""
        with self.history() as instance:
            run = instance.get_run_by_id(run_id)
            return run.status if run else None

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        return tables(self.warehouse)


def clean_environment() -> dict[str, str]:
    """The environment without any setting of ours or Dagster's, the code of this checkout in it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("STUDENT_PIPELINE_", "DAGSTER_"))
    }
    return kept | {"PYTHONPATH": str(PROJECT_ROOT)}


def tables(
    warehouse: Path, but: Sequence[str] = ("_ingested_at",)
) -> dict[str, list[tuple[Any, ...]]]:
    """`schema.table` -> all rows, sorted, of what a warehouse holds for people.

    Without the times of loading, so that two runs of the same files can be compared.

    Args:
        but: columns that are left out.
    """
    with duckdb.connect(warehouse, read_only=True) as connection:
        names = connection.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE schema_name <> 'ops'"
        ).fetchall()
        found = {}
        for schema, name in names:
            columns = connection.execute(
                "SELECT string_agg('\"' || column_name || '\"', ', ') FROM duckdb_columns() "
                "WHERE schema_name = ? AND table_name = ? AND column_name NOT IN (FROM unnest(?))",
                [schema, name, [*but]],
            ).fetchall()[0][0]
            found[f"{schema}.{name}"] = connection.execute(
                f"SELECT {columns} FROM {schema}.{name} ORDER BY ALL"
            ).fetchall()
        return found
