"""`make bench`: measure the pipeline against something simpler, in pairs.

Every contestant is a whole process, run in turn (A B A B ...); medians are told, since machines are
noisy. The comparison at the end shows that both built the same gold tables.

Usage: python -m benchmarks.run [--attendance N] [--rounds N] [--folder DIR] [--history N]
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

from benchmarks.day import write_day
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

    def day(self, warehouse: Path, day: Path) -> Cost:
        """A whole run on a copy of a warehouse, with the files of one more day or of none."""
        shutil.copyfile(warehouse, self._fresh("day.duckdb"))
        environment = {
            "STUDENT_PIPELINE_SOURCE": str(day),
            "STUDENT_PIPELINE_WAREHOUSE": str(self._folder / "day.duckdb"),
            "DAGSTER_HOME": str(self._folder / "pipeline_home"),
        }
        command = [sys.executable, "-m", "student_pipeline.cli", "run"]
        return measure(command, environment, self._folder / "day.log")

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


def made(folder: Path, attendance: int) -> Path:
    """The files of a school with so many attendance rows, without flaws; made when missing."""
    if not (folder / "attendance.csv").exists():
        write_sample(
            folder,
            students=50_000 if attendance > 10_000_000 else max(2, attendance // 200),
            attendance=attendance,
            assessments=attendance // 10,
            dirt=False,
        )
    return folder


def whole_runs(folder: Path, attendance: int, rounds: int) -> list[str]:
    """A whole first run against the bare script, on the big files and on the sample."""
    contest = Contest(folder, made(folder / "big", attendance))
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(contest.pipeline())
        theirs.append(contest.bare())
    contest.require_same_gold()
    ratio = statistics.median(a.wall / b.wall for a, b in zip(ours, theirs, strict=True))
    scale = f"{attendance:,} attendance rows"
    lines = [
        "| contestant | seconds | CPU seconds | peak MB | ratio |",
        "| --- | ---: | ---: | ---: | ---: |",
        table_row(f"student-pipeline run, {scale}", median(ours), ratio),
        table_row(f"bare DuckDB script, {scale}", median(theirs), None),
    ]
    write_sample(folder / "sample")
    contest = Contest(folder, folder / "sample")
    ours, theirs = [], []
    for _ in range(max(5, rounds)):
        ours.append(contest.pipeline())
        theirs.append(contest.empty_job())
    ratio = statistics.median(a.wall / b.wall for a, b in zip(ours, theirs, strict=True))
    lines.append(table_row("student-pipeline run, shipped sample", median(ours), ratio))
    lines.append(table_row("empty Dagster job of the same shape", median(theirs), None))
    return lines


def mornings(folder: Path, attendance: int, rounds: int, history: int) -> list[str]:
    """One more day on one year of attendance, and on several."""
    lines = [
        "| run | seconds | CPU seconds | peak MB |",
        "| --- | ---: | ---: | ---: |",
    ]
    days, full = {}, {}
    nothing = folder / "nothing"
    nothing.mkdir(exist_ok=True)
    start = None
    for years in (1, history):
        landing = made(folder / ("big" if years == 1 else f"big_{years}"), years * attendance)
        day = folder / f"day_{years}"
        write_day(landing, day, years)
        contest = Contest(folder, landing)
        full[years] = contest.pipeline()
        warehouse = folder / "history.duckdb"
        (folder / "pipeline.duckdb").replace(warehouse)
        costs, starts = [], []
        for _ in range(rounds):
            costs.append(contest.day(warehouse, day))
            starts.append(contest.day(warehouse, nothing))
        days[years], start = median(costs), start or median(starts)
        name = f"{years * attendance:,} attendance rows"
        for what, cost in (("all of", full[years]), ("one more day on", days[years])):
            lines.append(
                f"| {what} {name} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.peak_mb:,.0f} |"
            )
    assert start
    share = (days[1].wall - start.wall) / (full[1].wall - start.wall)
    return [
        *lines,
        f"| nothing new | {start.wall:.1f} | {start.cpu:.1f} | {start.peak_mb:,.0f} |",
        "",
        f"Above the run in which nothing is new, the day takes {share:.1%} of the time of the whole "
        f"build; with {history} times the history the whole run of the day takes "
        f"{days[history].wall / days[1].wall:.2f} times as long.",
    ]


def main() -> None:
    """Run the contests and write `results/README.md`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--attendance", type=int, default=10_000_000, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--history", type=int, default=5, metavar="YEARS")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        report = [
            "# Results",
            "",
            "Made by `make bench`.",
            "",
            f"Python {platform.python_version()}, DuckDB {duckdb.__version__}, "
            f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}. "
            f"Medians of {options.rounds} rounds, the contestants in turn; ratios are of wall-clock "
            "seconds, pair by pair.",
            "",
            *whole_runs(folder, options.attendance, options.rounds),
            "",
            "One more day: 1/180 of a year's rows, 1 % of them corrections of older days, and a "
            "roster in which 0.1 % of the students changed the class.",
            "",
            *mornings(folder, options.attendance, options.rounds, options.history),
        ]
    text = "\n".join(report) + "\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
