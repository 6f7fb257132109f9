"""What was told already: the open problems, in a file of `DAGSTER_HOME`.

The daemon and `student-pipeline run` share it, so that nothing is told twice.
"""

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from student_pipeline.alerts.message import Message

FILE = "alerts.json"

RUNS_REMEMBERED = 200
"""Of so many runs is known that they were looked at."""


@dataclass
class OpenProblem:
    """A problem that lasts. Times are ISO 8601; `told` is None until a message got through."""

    title: str
    warning: bool
    since: str
    told: str | None = None


@dataclass
class Ledger:
    """What was told, and what could not be.

    Attributes:
        problems: problem id -> the problem, while it lasts.
        runs: the runs that were looked at.
        unsent: problem id -> the newest message about it, where that did not get through.
    """

    problems: dict[str, OpenProblem] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    unsent: dict[str, Message] = field(default_factory=dict)

    def saw(self, run_id: str) -> None:
        """Remember that a run was looked at."""
        self.runs = [*self.runs, run_id][-RUNS_REMEMBERED:]


@contextmanager
def opened(folder: Path) -> Iterator[Ledger]:
    """The ledger, for nobody else until the end of the block, when it is saved whole.

    Raises:
        OSError: it can't be read or written.
        ValueError: the file holds something else.
    """
    with (folder / f".{FILE}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = folder / FILE
        ledger = _read(path)
        try:
            yield ledger
        finally:
            _write(path, ledger)


def moment(text: str) -> datetime:
    """A time of the ledger."""
    return datetime.fromisoformat(text)


def _read(path: Path) -> Ledger:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Ledger()
    try:
        problems = {name: OpenProblem(**entry) for name, entry in content["problems"].items()}
        unsent = {name: Message(**entry) for name, entry in content.get("unsent", {}).items()}
        return Ledger(problems, list(content["runs"]), unsent)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no ledger of alerts; remove it to begin anew") from error


def _write(path: Path, ledger: Ledger) -> None:
    handle, draft = tempfile.mkstemp(prefix=f".{FILE}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(ledger), file, indent=1)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
