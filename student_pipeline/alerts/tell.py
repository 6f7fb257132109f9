"""Telling people: which problems are new, which last, which are over; and sending it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg

from student_pipeline.alerts import ledger as books
from student_pipeline.alerts.message import (
    Message,
    Problem,
    problem_message,
    recovered_message,
)
from student_pipeline.alerts.notifiers import Notifier, NotSent, notifiers
from student_pipeline.alerts.problems import Seen, failed_run, problems_of_run
from student_pipeline.alerts.settings import Alerts

ERRORS_AGAIN = timedelta(hours=23)
"""A lasting error is told again after this time: once a day, with the day's run."""

WARNINGS_AGAIN = timedelta(days=7, hours=-1)
"""A lasting warning is told again after this time: once a week."""

PAUSE_SECONDS = 2.0
"""Before the one more try, when a message could not be sent."""


@dataclass(frozen=True)
class Post:
    """Where alerts go to.

    Attributes:
        notifiers: who carries them.
        folder: where the ledger lies.
        zone: the time zone of the school.
        ui_url: the address of Dagster's UI, or nothing.
        complain: takes a sentence about a message that could not be sent.
        pause: waits for so many seconds.
    """

    notifiers: Sequence[Notifier]
    folder: Path
    zone: ZoneInfo
    ui_url: str
    complain: Callable[[str], object]
    pause: Callable[[float], object] = time.sleep


def post_of(
    alerts: Alerts, instance: dg.DagsterInstance, time_zone: str, complain: Callable[[str], object]
) -> Post:
    """The post that the settings describe; the secrets in them must be resolved."""
    return Post(
        notifiers(alerts),
        _folder(instance),
        ZoneInfo(time_zone),
        alerts.ui_url,
        complain,
    )


def _folder(instance: dg.DagsterInstance) -> Path:
    """Where the ledger of alerts lies: the part of DAGSTER_HOME that is written in a service, too."""
    folder = Path(instance.root_directory) / "storage"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def tell_of_run(
    post: Post,
    instance: dg.DagsterInstance,
    run_id: str,
    proves: dict[tuple[str, str], str],
) -> int:
    """Tell what a run that has ended shows: each problem once, whoever asks first.

    Args:
        proves: (asset as `schema/table`, check) -> what the check proves.

    Returns: how many messages got through.
    """
    events = [
        (entry.timestamp, entry.dagster_event)
        for entry in instance.all_logs(run_id)
        if entry.dagster_event
    ]
    return tell(post, problems_of_run(run_id, events, proves), run_id)


def tell_of_no_run(post: Post, why: str) -> int:
    """Tell that a run could not begin, or broke off without a history."""
    return tell(post, Seen(datetime.now(timezone.utc), [failed_run("", why)]), "")


def tell(post: Post, seen: Seen, run_id: str) -> int:
    """Tell what did not get through before, what is new, what lasts and what is over.

    Never raises for what outsiders do wrong.

    Returns: how many messages got through.
    """
    try:
        with books.opened(post.folder) as ledger:
            working = list(post.notifiers)
            looked_at = bool(run_id) and run_id in ledger.runs
            if not looked_at:
                _forget_what_nobody_knows(ledger, seen)
            told = _tell_again(post, working, ledger, seen.ended)
            if looked_at:
                return told
            told += sum(
                _tell_problem(post, working, ledger, problem, seen.ended, run_id)
                for problem in {problem.id: problem for problem in seen.problems}.values()
            )
            still = {problem.id for problem in seen.problems}
            for name in [name for name in ledger.problems if name not in still]:
                if seen.proves_over(name):
                    told += _tell_recovery(post, working, ledger, name, seen.ended)
            if run_id:
                ledger.saw(run_id)
            return told
    except (OSError, ValueError) as error:
        post.complain(f"No alert was sent, since the ledger of alerts can't be used: {error}.")
        return 0


def _forget_what_nobody_knows(ledger: books.Ledger, seen: Seen) -> None:
    """Nothing is said of a problem that is over and of which no message got through."""
    for name, problem in list(ledger.problems.items()):
        if not problem.told and seen.proves_over(name):
            ledger.forget(name)


def _tell_again(post: Post, working: list[Notifier], ledger: books.Ledger, now: datetime) -> int:
    """Send what did not get through before; return how many messages did."""
    told = 0
    for notifier in post.notifiers:
        for name, message in list(ledger.unsent.get(notifier.name, {}).items()):
            if _send(post, working, notifier, message):
                told += 1
                ledger.done(notifier.name, name)
                if name in ledger.problems:
                    ledger.problems[name].told = now.isoformat()
    return told


def _tell_problem(
    post: Post,
    working: list[Notifier],
    ledger: books.Ledger,
    problem: Problem,
    seen: datetime,
    run_id: str,
) -> bool:
    known = ledger.problems.get(problem.id)
    since = known.since if known else seen.isoformat()
    told = known.told if known and known.warning == problem.warning else None
    entry = books.OpenProblem(problem.title, problem.warning, since, told)
    ledger.problems[problem.id] = entry
    again = WARNINGS_AGAIN if problem.warning else ERRORS_AGAIN
    if told and seen - books.moment(told) < again:
        return False
    message = problem_message(
        problem,
        since=books.moment(since),
        still=bool(told),
        run_id=run_id,
        zone=post.zone,
        ui_url=post.ui_url,
    )
    if not _deliver(post, working, ledger, problem.id, message):
        return False
    entry.told = seen.isoformat()
    return True


def _tell_recovery(
    post: Post, working: list[Notifier], ledger: books.Ledger, name: str, until: datetime
) -> bool:
    problem = ledger.problems.pop(name)
    message = recovered_message(
        problem.title, since=books.moment(problem.since), until=until, zone=post.zone
    )
    return _deliver(post, working, ledger, name, message)


def _deliver(
    post: Post, working: list[Notifier], ledger: books.Ledger, name: str, message: Message
) -> bool:
    """Send the newest message about a problem; keep it for each notifier that can't send it.

    Returns: whether one of them got it through.
    """
    through = False
    for notifier in post.notifiers:
        if _send(post, working, notifier, message):
            through = True
            ledger.done(notifier.name, name)
        else:
            ledger.keep(notifier.name, name, message)
    return through


def _send(post: Post, working: list[Notifier], notifier: Notifier, message: Message) -> bool:
    """Whether the notifier got the message through; it gets one more try where that may help.

    One that fails is taken out of `working`: a dead server must not hold up a run for each message.
    """
    if notifier not in working:
        return False
    for last_try in (False, True):
        try:
            notifier.send(message)
            return True
        # Whatever goes wrong in somebody's notifier, the run ends as it would have.
        except Exception as error:  # noqa: BLE001
            if isinstance(error, NotSent) and error.may_pass and not last_try:
                post.pause(PAUSE_SECONDS)
                continue
            working.remove(notifier)
            why = error if isinstance(error, NotSent) else f"{type(error).__name__}."
            post.complain(
                f"An alert could not be sent by {notifier.name}: {why} The first one that "
                f"is missing: {message.title}. It is sent again with the next run, or within "
                "ten minutes by the daemon."
            )
            break
    return False
