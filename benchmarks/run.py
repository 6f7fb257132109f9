"""`make bench`: measure the pipeline against what a user might pick instead.

Data, environments and outputs lie in a folder that is kept, so that a second time is quicker. Every
result is stored as soon as it is there; the page and the pictures are made anew from all results.

Usage: python -m benchmarks.run [--scales N ...] [--contests NAME ...] [--contestants NAME ...]
                                [--rounds N] [--memory-limit MB] [--folder DIR] [--results DIR]
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import duckdb

from benchmarks import contests
from benchmarks.comparing import Differing
from benchmarks.contestants import CONTESTANTS, PIPELINE, Contestant
from benchmarks.contests import Arena, Costs
from benchmarks.limit import NoLimit
from benchmarks.measuring import CommandFailed, machine
from benchmarks.report import write_report
from benchmarks.results import Measured, load, save

HERE = Path(__file__).resolve().parent
SCALES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000)
SMALLEST_HISTORY = 1_000_000
"""A day of a smaller school is a handful of rows."""

SAMPLE_ROWS, SAMPLE_ROUNDS = 5_000, 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the contests; 0, or 1 after a sentence that says what went wrong."""
    options = _options(arguments)
    arena = Arena(options.folder, options.memory_limit)
    chosen = [each for each in CONTESTANTS if each.name in options.contestants]
    file = options.results / "measured.json"

    def keep(contest: str, attendance: int, costs: Costs) -> None:
        measured = Measured(
            contest=contest,
            attendance=attendance,
            memory_limit_mb=options.memory_limit,
            machine=machine(),
            measured_on=datetime.now(timezone.utc).date().isoformat(),
            versions=_versions(chosen),
            costs=costs,
        )
        write_report(save(file, measured), options.results)

    try:
        for attendance in options.scales:
            if "build" in options.contests:
                print(f"A whole first build, {attendance:,} attendance rows", flush=True)
                keep("build", attendance, contests.build(arena, chosen, attendance, options.rounds))
            if "day" in options.contests and attendance >= SMALLEST_HISTORY:
                print(f"One more day upon {attendance:,} attendance rows", flush=True)
                keep("day", attendance, contests.day(arena, attendance, options.rounds))
        if "sample" in options.contests:
            print("The shipped sample", flush=True)
            rounds = max(SAMPLE_ROUNDS, options.rounds)
            keep("sample", SAMPLE_ROWS, contests.sample(arena, rounds))
    except (CommandFailed, Differing, NoLimit) as error:
        print(error, file=sys.stderr)
        return 1
    write_report(load(file), options.results)
    print(f"Written: {options.results / 'README.md'}")
    return 0


def _versions(contestants: Sequence[Contestant]) -> dict[str, str]:
    versions = {each.name: each.version for each in contestants if each.version}
    return versions | {PIPELINE.name: f"on DuckDB {duckdb.__version__}"}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    names = [contestant.name for contestant in CONTESTANTS]
    parser.add_argument(
        "--scales", type=int, nargs="*", default=SCALES, metavar="N", help="rows of attendance"
    )
    parser.add_argument(
        "--contests", nargs="*", default=("build", "day", "sample"),
        choices=("build", "day", "sample"),
    )  # fmt: skip
    parser.add_argument("--contestants", nargs="*", default=names, choices=names)
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument(
        "--memory-limit", type=int, default=0, metavar="MB",
        help="give each so much memory (root on Linux only; default: no limit)",
    )  # fmt: skip
    parser.add_argument(
        "--folder",
        type=Path,
        default=HERE.parent / "build" / "bench",
        help="where to work: 20 GB for all scales (default: build/bench)",
    )
    parser.add_argument(
        "--results", type=Path, default=HERE / "results", help="where the results are kept"
    )
    options = parser.parse_args(arguments)
    if options.memory_limit and options.contests != ["build"]:
        parser.error("--memory-limit goes with --contests build alone.")
    return options


if __name__ == "__main__":
    sys.exit(main())
