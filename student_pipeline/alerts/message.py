"""What an alert says. No data of students, no ids: it leaves the house."""

from dataclasses import dataclass
from datetime import datetime, tzinfo


@dataclass(frozen=True)
class Problem:
    """Something that somebody must know.

    Attributes:
        id: the same for the same problem in a later run.
        warning: it stops nothing.
        title: what is the matter, in one line.
        what: what was found, in one or two sentences.
        where: the asset, the step or the job.
        todo: what to do about it, in one or two sentences.
        page: the path of its page in Dagster's UI, without the UI's address.
        step: for a failed step: the step; it has recovered when that step succeeds.
    """

    id: str
    warning: bool
    title: str
    what: str
    where: str
    todo: str
    page: str = ""
    step: str | None = None


@dataclass(frozen=True)
class Message:
    """One alert, ready to be sent.

    Attributes:
        title: the subject.
        facts: what a reader wants to know, in order: label -> sentence.
        link: the full address of the problem's page; empty where the UI's address is not known.
    """

    title: str
    facts: dict[str, str]
    link: str

    @property
    def text(self) -> str:
        """The message as plain text, without the title."""
        lines = [f"{label}: {sentence}" for label, sentence in self.facts.items()]
        return "\n".join([*lines, f"Link: {self.link}"] if self.link else lines)


def problem_message(
    problem: Problem, *, since: datetime, still: bool, run_id: str, zone: tzinfo, ui_url: str
) -> Message:
    """The message of a problem.

    Args:
        since: when it was seen first.
        still: whether it was told before.
        run_id: the run in which it was seen; empty where none was.
        zone: the time zone of the school.
        ui_url: the address of Dagster's UI, or nothing.
    """
    kind = "WARNING" if problem.warning else "FAILED"
    return Message(
        f"{'STILL ' if still else ''}{kind}: {problem.title}",
        {
            "What": problem.what,
            "Where": f"{problem.where}, run {run_id}" if run_id else problem.where,
            "Since": _moment(since, zone),
            "What to do": problem.todo,
        },
        f"{ui_url}{problem.page}" if ui_url and problem.page else "",
    )


def recovered_message(title: str, *, since: datetime, until: datetime, zone: tzinfo) -> Message:
    """The message that a problem is over."""
    return Message(
        f"RECOVERED: {title}",
        {"What": "It is over.", "Since": _moment(since, zone), "Until": _moment(until, zone)},
        "",
    )


def _moment(instant: datetime, zone: tzinfo) -> str:
    return instant.astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")
