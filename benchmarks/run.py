"""`make bench`: measure the pipeline against something simpler, in pairs.

Every contestant is a whole process, run in turn (A B A B ...); medians are told, since machines are
noisy. The comparison at the end shows that both built the same gold tables.

Usage: python -m benchmarks.run [--attendance N] [--rounds N] [--folder DIR] [--keep]
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb

from student_pipeline.sample_data import write_sample

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
GOLD_KEYS = {
    "class_daily_performance": ("class_id", "date"),
    "student_performance_summary": ("student_id",),
}


@dataclass(frozen=True)
class Cost:
    """What one process took: seconds of wall clock and of CPU, peak memory in MB."""

    wall: float
    cpu: float
    peak_mb: float


def measure(command: list[str], environment: dict[str, str], log: Path) -> Cost:
    """Run a command to its end and say what it took.

    Raises:
        SystemExit: the command failed; the end of its output is shown.
    """
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text()[-3000:]}")
    wall = time.monotonic() - started
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def median(costs: list[Cost]) -> Cost:
    """The median of each figure."""
    return Cost(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.cpu for cost in costs),
        statistics.median(cost.peak_mb for cost in costs),
    )


class Contest:
    """Two commands, run in turn."""

    def __init__(self, folder: Path, landing: Path) -> None:
        self._folder = folder
        self._landing = landing

    def pipeline(self) -> Cost:
        """A whole `student-pipeline run` into a new warehouse and a new Dagster history."""
        warehouse = self._fresh("pipeline.duckdb")
        environment = {
            "STUDENT_PIPELINE_SOURCE": str(self._landing),
            "STUDENT_PIPELINE_WAREHOUSE": str(warehouse),
            "DAGSTER_HOME": str(self._fresh("pipeline_home")),
        }
        command = [sys.executable, "-m", "student_pipeline.cli", "run"]
        return measure(command, environment, self._folder / "pipeline.log")

    def bare(self) -> Cost:
        """The hand-written DuckDB script into a new file."""
        warehouse = self._fresh("bare.duckdb")
        command = [sys.executable, str(HERE / "bare_duckdb.py"), str(self._landing), str(warehouse)]
        return measure(command, {}, self._folder / "bare.log")

    def empty_job(self) -> Cost:
        """The empty Dagster job, with a new history of the same settings."""
        home = self._fresh("empty_home")
        home.mkdir()
        shutil.copyfile(HERE.parent / ".dagster_home" / "dagster.yaml", home / "dagster.yaml")
        command = [sys.executable, str(HERE / "empty_job.py")]
        return measure(command, {"DAGSTER_HOME": str(home)}, self._folder / "empty.log")

    def require_same_gold(self) -> None:
        """Raise SystemExit unless pipeline and bare script built the same gold tables."""
        with duckdb.connect() as connection:
            for name in ("pipeline", "bare"):
                connection.execute(f"ATTACH '{self._folder / name}.duckdb' AS {name} (READ_ONLY)")
            for table, key in GOLD_KEYS.items():
                names = ", ".join(
                    row[0]
                    for row in connection.execute(f"DESCRIBE pipeline.gold.{table}").fetchall()
                )
                # Averages may differ in the last digit: the script rounds decimals that are not exact.
                differing = connection.execute(
                    f"SELECT count(*) FROM (SELECT {names} FROM pipeline.gold.{table}) AS a "
                    f"FULL JOIN (SELECT {names} FROM bare.gold.{table}) AS b "
                    f"USING ({', '.join(key)}) WHERE "
                    + " OR ".join(
                        f"abs(a.{name} - b.{name}) > 0.011 OR (a.{name} IS NULL) <> (b.{name} IS NULL)"
                        if name.endswith("score")
                        else f"a.{name} IS DISTINCT FROM b.{name}"
                        for name in names.split(", ")
                        if name not in key
                    )
                ).fetchone()
                if differing and differing[0]:
                    raise SystemExit(f"{table}: {differing[0]} rows differ")

    def _fresh(self, name: str) -> Path:
        path = self._folder / name
        for old in (path, path.with_name(f"{name}.wal")):
            if old.is_dir():
                shutil.rmtree(old)
            elif old.exists():
                old.unlink()
        return path


def table_row(name: str, cost: Cost, ratio: float | None) -> str:
    """One line of the Markdown table."""
    return (
        f"| {name} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.peak_mb:,.0f} | "
        f"{f'{ratio:.2f}' if ratio else ''} |"
    )


def main() -> None:
    """Run both contests and write `results/README.md`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--attendance", type=int, default=10_000_000, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        big, sample = folder / "big", folder / "sample"
        if not (big / "attendance.csv").exists():
            write_sample(
                big,
                students=max(2, options.attendance // 200),
                attendance=options.attendance,
                assessments=options.attendance // 10,
                dirt=False,
            )
        write_sample(sample)

        lines = [
            f"Python {platform.python_version()}, DuckDB {duckdb.__version__}, "
            f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}. "
            f"Medians of {options.rounds} rounds, the contestants in turn; ratios are of wall-clock "
            "seconds, pair by pair.",
            "",
            "| contestant | seconds | CPU seconds | peak MB | ratio |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        contest = Contest(folder, big)
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours.append(contest.pipeline())
            theirs.append(contest.bare())
        contest.require_same_gold()
        ratio = statistics.median(a.wall / b.wall for a, b in zip(ours, theirs, strict=True))
        scale = f"{options.attendance:,} attendance rows"
        lines.append(table_row(f"student-pipeline run, {scale}", median(ours), ratio))
        lines.append(table_row(f"bare DuckDB script, {scale}", median(theirs), None))

        contest = Contest(folder, sample)
        ours, theirs = [], []
        for _ in range(max(5, options.rounds)):
            ours.append(contest.pipeline())
            theirs.append(contest.empty_job())
        ratio = statistics.median(a.wall / b.wall for a, b in zip(ours, theirs, strict=True))
        lines.append(table_row("student-pipeline run, shipped sample", median(ours), ratio))
        lines.append(table_row("empty Dagster job of the same shape", median(theirs), None))

    report = "# Results\n\nMade by `make bench`.\n\n" + "\n".join(lines) + "\n"
    print(report)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "README.md").write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
