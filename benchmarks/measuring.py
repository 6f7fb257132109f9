"""What a process takes: time, processor, memory, disk."""

import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants import Command

LAUNCHER = Path(__file__).resolve().with_name("launcher.py")


@dataclass(frozen=True)
class Cost:
    """What one run took.

    Attributes:
        wall, cpu: seconds; `cpu` over all threads and processes.
        peak_mb: resident memory of the largest process at its highest.
        disk_mb: what lies in the output folder afterwards.
    """

    wall: float
    cpu: float
    peak_mb: float
    disk_mb: float


class CommandFailed(Exception):
    """A command ended with an error; the message has the end of its output."""


class OutOfMemory(CommandFailed):
    """A command was killed, as the system does when there is no memory left."""


def measure(command: Command, output: Path, log: Path) -> Cost:
    """Run a command to its end and say what it took.

    Args:
        output: the folder that the command writes to.
        log: the file for what the command says.

    Raises:
        OutOfMemory: it was killed.
        CommandFailed: it failed.
    """
    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(LAUNCHER), str(log), *command.words],
        env={**os.environ, **command.environment},
        stdout=subprocess.PIPE,
        check=True,
    )
    took = json.loads(ended.stdout)
    status = took.pop("status")
    if status:
        kind = OutOfMemory if status == -signal.SIGKILL else CommandFailed
        end = log.read_text(errors="replace")[-3000:]
        raise kind(f"{' '.join(command.words)} ended with {status}:\n{end}")
    return Cost(**took, disk_mb=megabytes(output))


def megabytes(folder: Path) -> float:
    """The size of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def median(costs: Sequence[Cost]) -> Cost:
    """The median of each figure."""
    return Cost(
        *(
            statistics.median(getattr(cost, name) for cost in costs)
            for name in ("wall", "cpu", "peak_mb", "disk_mb")
        )
    )


def ratio(costs: Sequence[Cost], others: Sequence[Cost]) -> float:
    """How many times as long the first took: the median over the pairs of a round."""
    return statistics.median(a.wall / b.wall for a, b in zip(costs, others, strict=True))


def machine() -> str:
    """The facts of this machine in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    facts = [
        _processor(),
        f"{os.cpu_count()} cores",
        f"{memory:.0f} GB of memory",
        f"{platform.system()} {platform.release().split('-')[0]}",
        f"Python {platform.python_version()}",
    ]
    return ", ".join(fact for fact in facts if fact)


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    found = listed.exists() and re.search(r"^model name\s*:\s*(.+)$", listed.read_text(), re.M)
    return found[1].strip() if found else platform.processor() or platform.machine()
