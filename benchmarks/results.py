"""The figures of all invocations, kept in `results/measured.json`.

A contest at a scale, within a limit of memory, is measured in one invocation and replaced as a
whole by the next one.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measuring import Cost


@dataclass(frozen=True)
class Measured:
    """A contest at a scale.

    Attributes:
        contest: `build`, `day` or `sample`.
        attendance: rows of attendance.
        memory_limit_mb: how much memory each was given; 0: all there is.
        machine: the facts of the machine, in one line.
        measured_on: YYYY-MM-DD.
        versions: name of a contestant -> version.
        costs: name of what was run -> what each of its rounds took; none: out of memory.
    """

    contest: str
    attendance: int
    memory_limit_mb: int
    machine: str
    measured_on: str
    versions: Mapping[str, str]
    costs: Mapping[str, list[Cost]]

    @property
    def key(self) -> tuple[str, int, int]:
        """What it is replaced by: the same contest, at the same scale, within the same limit."""
        return self.contest, self.memory_limit_mb, self.attendance


def load(file: Path) -> list[Measured]:
    """All that was measured, contest by contest, small before large; nothing without the file."""
    if not file.exists():
        return []
    stored = json.loads(file.read_text(encoding="utf-8"))
    return [
        Measured(
            **{
                **one,
                "costs": {
                    name: [Cost(**cost) for cost in costs] for name, costs in one["costs"].items()
                },
            }
        )
        for one in stored
    ]


def save(file: Path, measured: Measured) -> list[Measured]:
    """Put it in place of what was measured in the same contest at the same scale; all of them."""
    others = [one for one in load(file) if one.key != measured.key]
    everything = sorted([*others, measured], key=lambda one: one.key)
    file.parent.mkdir(parents=True, exist_ok=True)
    rounded = [asdict(one) for one in everything]
    for one in rounded:
        for costs in one["costs"].values():
            for cost in costs:
                cost |= {name: round(figure, 3) for name, figure in cost.items()}
    file.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    return everything
