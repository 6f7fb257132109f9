"""What a run says in a terminal while it works: one line an asset, one a failed check."""

import logging
import os
import sys
import time

import dagster as dg


def say(line: str = "") -> None:
    """Print a line at once, and go on when nobody listens any more.

    What came from files may hold anything: what is not printable is escaped. A reader that went
    away (`student-pipeline run | head`) must not stop a run.
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    try:
        print(shown, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def count(number: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class ProgressHandler(logging.Handler):
    """Turns the run's events into lines."""

    def __init__(self) -> None:
        super().__init__()
        self._started: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        about = getattr(record, "dagster_meta", {})
        event = about.get("dagster_event")
        if event:
            line = self._line(event)
        else:  # what a step itself says, such as that it waits for the warehouse
            says = about.get("step_key") and logging.INFO <= record.levelno < logging.ERROR
            line = about["orig_message"] if says else None
        if line:
            say(f"  {line}")

    def _line(self, event: dg.DagsterEvent) -> str | None:
        if event.is_step_start and event.step_key:
            self._started[event.step_key] = time.monotonic()
        elif event.is_step_materialization and event.asset_key:
            metadata = event.step_materialization_data.materialization.metadata
            stored = metadata.get("dagster/row_count")
            rows = (
                count(stored.value or 0, "row") if isinstance(stored, dg.IntMetadataValue) else ""
            )
            seconds = time.monotonic() - self._started.get(event.step_key or "", time.monotonic())
            return f"{event.asset_key.to_user_string():<38} {rows:>17} {seconds:>8.1f} s"
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            if not found.passed:
                name = f"{found.asset_key.to_user_string()}: {found.check_name}"
                kind = "FAILED " if found.severity == dg.AssetCheckSeverity.ERROR else "warning"
                return f"{kind} {name}: {found.description}"
        elif event.is_step_up_for_retry:
            return f"{event.step_key}: {cause(event)} Trying again."
        elif event.is_step_failure and not is_failed_check(event):
            return f"FAILED  {event.step_key}"
        return None


_SENTENCES = ("Failure", "ClusterLost", "ClusterError")
"""The kinds of errors whose message is a sentence."""


def cause(event: dg.DagsterEvent) -> str:
    """Why a step or a run failed, in its own words: one line, without a traceback."""
    error = getattr(event.event_specific_data, "error", None)
    if not error:
        return " ".join((event.message or "").split())
    while error.cause:
        error = error.cause
    if error.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt"):
        return "It was interrupted."
    message = " ".join(error.message.split())
    # "dagster….Failure: " stands before the sentence of a Failure.
    return message.partition(": ")[2] if error.cls_name in _SENTENCES else message


def is_failed_check(event: dg.DagsterEvent) -> bool:
    """Whether a step failed only because a blocking check did, which is said by itself."""
    error = event.step_failure_data.error
    return bool(error and error.cls_name == "DagsterAssetCheckFailedError")


@dg.logger(config_schema=None, description="One line an asset, one a failed check: for a terminal.")
def progress_logger(init_context: dg.InitLoggerContext) -> logging.Logger:
    """The logger of `student-pipeline run`."""
    logger = logging.Logger("student_pipeline.progress", level=logging.DEBUG)
    logger.addHandler(ProgressHandler())
    return logger
