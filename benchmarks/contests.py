"""The contests: who is run on what, in which order, and what must be true afterwards.

Every contestant is a whole process. They are run in turn (A B A B ...), since machines are noisy.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.comparing import require_same_gold
from benchmarks.contestants import (
    DBT,
    PIPELINE,
    Command,
    Contestant,
    python_of,
)
from benchmarks.data import ROWS_OF_A_YEAR, history, write_day
from benchmarks.limit import memory_limit
from benchmarks.measuring import Cost, OutOfMemory, measure
from student_pipeline.sample_data import write_sample

Costs = dict[str, list[Cost]]
"""Name of what was run -> what each of its rounds took; nothing where memory did not suffice."""

HERE = Path(__file__).resolve().parent
DAY, NOTHING_NEW, EMPTY_JOB = "one more day", "nothing new", "empty_job"


class Arena:
    """A folder to work in: environments, data, and the output of each contestant."""

    def __init__(self, folder: Path, memory_limit_mb: int = 0) -> None:
        self.folder = folder.resolve()
        self._memory_limit_mb = memory_limit_mb
        self._outputs = self.folder / "outputs"
        self._landing = self.folder / "landing"
        self._outputs.mkdir(parents=True, exist_ok=True)

    def files(self, attendance: int) -> Path:
        """The files of a school with so many attendance rows."""
        return history(self.folder / "files" / str(attendance), attendance)

    def output(self, name: str) -> Path:
        """Where a contestant writes."""
        return self._outputs / name

    def emptied(self, name: str) -> Path:
        """A folder without anything in it."""
        output = self.output(name)
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True)
        return output

    def land(self, files: Path) -> Path:
        """The landing folder, with these files: always one path, as for people who use it daily."""
        self._landing.unlink(missing_ok=True)
        self._landing.symlink_to(files, target_is_directory=True)
        return self._landing

    def python(self, contestant: Contestant) -> Path:
        """The interpreter of a contestant."""
        return python_of(contestant, self.folder / "environments")

    def run(self, contestant: Contestant, files: Path) -> Cost:
        """Run a contestant on files, upon what its output folder holds."""
        output = self.output(contestant.name)
        command = contestant.start(self.python(contestant), self.land(files), output)
        return self.measure(contestant.name, command)

    def measure(self, name: str, command: Command) -> Cost:
        """Run a command that writes to the output folder of this name."""
        with memory_limit(self._memory_limit_mb) as words:
            command = replace(command, words=[*words, *command.words])
            cost = measure(command, self.output(name), self.folder / f"{name}.log")
        print(f"  {name}: {cost.wall:.1f} s, {cost.peak_mb:,.0f} MB", flush=True)
        return cost


def build(arena: Arena, contestants: Sequence[Contestant], attendance: int, rounds: int) -> Costs:
    """A whole first build by everybody; all gold tables are compared with the pipeline's.

    Who is killed for want of memory is out at this scale.
    """
    files = arena.files(attendance)
    costs: Costs = {contestant.name: [] for contestant in contestants}
    taking_part = list(contestants)
    for number in range(rounds):
        for contestant in list(taking_part):
            arena.emptied(contestant.name)
            try:
                costs[contestant.name].append(arena.run(contestant, files))
            except OutOfMemory:
                print(f"  {contestant.name}: killed, out of memory", flush=True)
                costs[contestant.name] = []
                taking_part.remove(contestant)
        if number == 0:
            _compare(arena, taking_part)
    return costs


def day(arena: Arena, attendance: int, rounds: int) -> Costs:
    """One more day, and nothing new, upon a whole history; both of those who work incrementally.

    Every round begins from a copy of what the first build left.
    """
    files, new, nothing = (
        arena.files(attendance),
        arena.emptied("day_files"),
        arena.emptied("no_files"),
    )
    write_day(files, new, years=max(1, attendance // ROWS_OF_A_YEAR))
    contestants = (PIPELINE, DBT)
    for contestant in contestants:
        arena.emptied(contestant.name)
        arena.run(contestant, files)
        state = arena.output(f"{contestant.name}_before")
        shutil.rmtree(state, ignore_errors=True)
        arena.output(contestant.name).rename(state)
    costs: Costs = {f"{PIPELINE.name}: {NOTHING_NEW}": []}
    costs |= {f"{contestant.name}: {DAY}": [] for contestant in contestants}

    def begin_with_a_copy(contestant: Contestant) -> None:
        output = arena.output(contestant.name)
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(arena.output(f"{contestant.name}_before"), output)
        os.sync()  # or the copy is written to the disk at the expense of whoever runs

    def run(contestant: Contestant, what: str, landing: Path) -> None:
        costs[f"{contestant.name}: {what}"].append(arena.run(contestant, landing))

    for number in range(rounds):
        begin_with_a_copy(PIPELINE)
        arena.run(PIPELINE, nothing)  # published files in a copy are not known, so written anew
        run(PIPELINE, NOTHING_NEW, nothing)
        run(PIPELINE, DAY, new)
        begin_with_a_copy(DBT)
        run(DBT, DAY, new)
        if number == 0:
            _compare(arena, contestants)
    return costs


def sample(arena: Arena, rounds: int) -> Costs:
    """The pipeline on the shipped sample, and a Dagster job of the same shape that does nothing."""
    files = arena.folder / "files" / "sample"
    write_sample(files)
    costs: Costs = {PIPELINE.name: [], EMPTY_JOB: []}
    for _ in range(rounds):
        arena.emptied(PIPELINE.name)
        costs[PIPELINE.name].append(arena.run(PIPELINE, files))
        home = arena.emptied(EMPTY_JOB)
        shutil.copyfile(HERE.parent / ".dagster_home" / "dagster.yaml", home / "dagster.yaml")
        command = Command([sys.executable, str(HERE / "empty_job.py")], {"DAGSTER_HOME": str(home)})
        costs[EMPTY_JOB].append(arena.measure(EMPTY_JOB, command))
    return costs


def _compare(arena: Arena, contestants: Sequence[Contestant]) -> None:
    if PIPELINE in contestants:
        for contestant in contestants:
            require_same_gold(arena.output(PIPELINE.name), arena.output(contestant.name))
