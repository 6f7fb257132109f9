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
from student_pipeline.disk import to_disk

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
        unsent: notifier -> problem id -> the newest message about it, where that notifier did not
            get it through.
    """

    problems: dict[str, OpenProblem] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    unsent: dict[str, dict[str, Message]] = field(default_factory=dict)

    def keep(self, notifier: str, name: str, message: Message) -> None:
        """Keep a message for the next time, behind the others of this notifier."""
        self.done(notifier, name)
        self.unsent.setdefault(notifier, {})[name] = message

    def done(self, notifier: str, name: str) -> None:
        """Forget what this notifier did not get through about a problem."""
        self.unsent.get(notifier, {}).pop(name, None)

    def forget(self, name: str) -> None:
        """Forget a problem, and every message about it."""
        self.problems.pop(name, None)
        for notifier in self.unsent:
            self.done(notifier, name)

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
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Ledger()
    try:
        content = json.loads(text)
        problems = {name: OpenProblem(**entry) for name, entry in content["problems"].items()}
        unsent = {
            notifier: {name: Message(**entry) for name, entry in messages.items()}
            for notifier, messages in content["unsent"].items()
        }
        return Ledger(problems, list(content["runs"]), unsent)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is no ledger of alerts; remove it to begin anew") from error


def _write(path: Path, ledger: Ledger) -> None:
    handle, draft = tempfile.mkstemp(prefix=f".{FILE}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(ledger), file, indent=1)
        to_disk(Path(draft))
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
