"""What went wrong in a run, read from its events.

The sentences of checks quote keys, which are ids of students. So an alert is made from what a check
declares about itself and from the counts that it found, not from its sentence.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from textwrap import shorten

import dagster as dg

from student_pipeline.alerts.message import Problem

RUN = "run"
"""The id of the problem that a run failed outside of its steps; that of a step follows a slash."""

WHAT_TO_DO = {
    "files_readable": (
        "Open the run: the check names each refused file with what was expected and found. "
        "Mend or remove the file; the next run tries again."
    ),
    "not_empty": "See whether the source's files arrived, and whether all their rows were refused.",
    "columns_known": (
        "Open the run: the check names the files and what they lack. Mend the export, or add its "
        "header to header_aliases in rules.yaml and deliver the file again, changed."
    ),
    "row_count_kept": "Ask the source whether so many rows were meant to go.",
    "schema": "Tell the people who look after the pipeline: the table was changed from outside.",
    "key_unique": "Tell the people who look after the pipeline: this is a defect.",
    "required_columns": "Tell the people who look after the pipeline: this is a defect.",
    "accepted_values": "Tell the people who look after the pipeline: this is a defect.",
    "ranges": "Tell the people who look after the pipeline: this is a defect.",
    "foreign_keys": "Tell the people who look after the pipeline: this is a defect.",
    "nothing_is_lost": "Tell the people who look after the pipeline: this is a defect.",
    "quarantined_share": (
        "List the rows with `student-pipeline quarantine`, and have the registrar mend the source."
    ),
    "one_student_per_id": "Have the registrar see why the source uses one id for two students.",
    "still_in_roster": (
        "Nothing, if these students left. Else the last roster file is not complete."
    ),
    "recent_data": "See whether the source still delivers its files.",
    "coverage_above_one": "Nothing, if students left this term. Else mend the roster.",
}
"""Check -> what to do when it fails."""

DEFECT = (
    "A number contradicts another one: tell the people who look after the pipeline. What was "
    "published stays."
)
"""What to do about any other check."""


@dataclass
class Seen:
    """What the events of a run tell.

    Attributes:
        ended: when it ended.
        problems: in the order of the events.
        passed: ids of problems that the run proves to be over.
    """

    ended: datetime
    problems: list[Problem] = field(default_factory=list)
    passed: set[str] = field(default_factory=set)

    def proves_over(self, problem_id: str) -> bool:
        """Whether the run shows that an older problem is over."""
        return problem_id in self.passed


def check_id(asset: str, check: str) -> str:
    """The id of a failed check's problem; the asset as `schema/table`."""
    return f"check/{asset}/{check}"


def problems_of_run(
    run_id: str,
    events: Iterable[tuple[float, dg.DagsterEvent]],
    proves: dict[tuple[str, str], str],
) -> Seen:
    """What went wrong in a run, and what went well.

    Args:
        events: of the run, in order, each with its time in seconds since 1970.
        proves: (asset as `schema/table`, check) -> what the check proves, in one sentence.
    """
    seen = Seen(datetime.fromtimestamp(0, timezone.utc))
    step_failed = False
    for timestamp, event in events:
        seen.ended = datetime.fromtimestamp(timestamp, timezone.utc)
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            asset = found.asset_key.to_user_string()
            if found.passed:
                seen.passed.add(check_id(asset, found.check_name))
            else:
                proof = proves.get((asset, found.check_name), "")
                seen.problems.append(_failed_check(found, asset, proof))
        elif event.is_step_success:
            seen.passed.add(f"{RUN}/{event.step_key}")
        elif event.is_step_failure:
            step_failed = True
            if not _because_of_a_check(event):
                _add_failed_step(seen.problems, _failed_step(run_id, event))
        elif event.event_type == dg.DagsterEventType.RUN_SUCCESS:
            seen.passed.add(RUN)
        elif event.event_type == dg.DagsterEventType.RUN_FAILURE and not step_failed:
            seen.problems.append(failed_run(run_id, _why(event)))
    return seen


def failed_run(run_id: str, why: str) -> Problem:
    """The problem of a run that failed outside of its steps, or could not begin."""
    return Problem(
        id=RUN,
        warning=False,
        title="the run",
        what=why,
        where="student_data_pipeline",
        todo=_READ_THE_RUN,
        page=f"/runs/{run_id}" if run_id else "",
    )


_READ_THE_RUN = "Open the run and read its log. The tables are as they were before it."


def _failed_check(found: dg.AssetCheckEvaluation, asset: str, proof: str) -> Problem:
    warning = found.severity == dg.AssetCheckSeverity.WARN
    numbers = [
        f"{name.replace('_', ' ')}: {value.value:,}"
        for name, value in found.metadata.items()
        if isinstance(value, dg.IntMetadataValue) and value.value is not None
    ]
    refused = found.metadata.get("refused")
    if isinstance(refused, dg.JsonMetadataValue) and isinstance(refused.data, list):
        numbers.append(f"refused files: {len(refused.data):,}")
    return Problem(
        id=check_id(asset, found.check_name),
        warning=warning,
        title=f"check {found.check_name} of {asset}",
        what=" ".join(
            [
                f"The check did not pass. What it looks for: {proof}",
                *([f"Found: {', '.join(numbers)}."] if numbers else []),
                *([] if warning else ["What is built from the table waits, as it was."]),
            ]
        ),
        where=asset,
        todo=WHAT_TO_DO.get(found.check_name, DEFECT),
        page=f"/assets/{asset}?view=checks&checkDetail={found.check_name}",
    )


def _add_failed_step(problems: list[Problem], failed: Problem) -> None:
    """Steps that failed of the same cause are one problem."""
    for number, other in enumerate(problems):
        if other.step and other.what == failed.what:
            problems[number] = replace(other, where=f"{other.where}, {failed.where}")
            return
    problems.append(failed)


def _failed_step(run_id: str, event: dg.DagsterEvent) -> Problem:
    return Problem(
        id=f"{RUN}/{event.step_key}",
        warning=False,
        title=f"step {event.step_key}",
        what=_why(event),
        where=event.step_key or "",
        todo=_READ_THE_RUN,
        page=f"/runs/{run_id}",
        step=event.step_key,
    )


def _why(event: dg.DagsterEvent) -> str:
    """The sentence of a `Failure`, which is ours; of any other error its kind, and no message.

    What others say may quote a value of the data.
    """
    error = getattr(event.event_specific_data, "error", None)
    if not error:
        return "It did not end by itself: it was stopped, killed, or lost its computer."
    chain = [error]
    while chain[-1].cause:
        chain.append(chain[-1].cause)
    for link in chain:
        if link.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt"):
            return "It was interrupted."
    for link in chain:
        if link.cls_name == "Failure":
            return shorten(link.message.partition(": ")[2], 400)
    return f"It ended with an error of the kind {chain[-1].cls_name}."


def _because_of_a_check(event: dg.DagsterEvent) -> bool:
    error = event.step_failure_data.error
    return bool(error and error.cls_name == "DagsterAssetCheckFailedError")
