"""What a run says in a terminal while it works: one line an asset, one a failed check."""

import logging
import sys
import time
from typing import Any

import dagster as dg


class ProgressHandler(logging.Handler):
    """Turns the run's events into lines."""

    def __init__(self, stream: Any = None) -> None:
        super().__init__()
        self._stream = stream or sys.stdout
        self._started: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        about = getattr(record, "dagster_meta", {})
        event = about.get("dagster_event")
        if event:
            line = self._line(event)
        else:  # what a step itself says, such as that it waits for the warehouse
            says = about.get("step_key") and logging.INFO <= record.levelno < logging.ERROR
            line = f"  {about['orig_message']}" if says else None
        if line:
            print(line, file=self._stream, flush=True)

    def _line(self, event: dg.DagsterEvent) -> str | None:
        if event.is_step_start and event.step_key:
            self._started[event.step_key] = time.monotonic()
        elif event.is_step_materialization and event.asset_key:
            metadata = event.step_materialization_data.materialization.metadata
            seconds = time.monotonic() - self._started.get(event.step_key or "", time.monotonic())
            rows = metadata["dagster/row_count"].value
            return f"  {event.asset_key.to_user_string():<38} {rows:>12,} rows {seconds:>8.1f} s"
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            if not found.passed:
                name = f"{found.asset_key.to_user_string()}: {found.check_name}"
                kind = "FAILED " if found.severity == dg.AssetCheckSeverity.ERROR else "warning"
                return f"  {kind} {name}: {found.description}"
        elif event.is_step_up_for_retry:
            return f"  {event.step_key}: trying again. {event.message}"
        return None


@dg.logger(description="One line an asset, one a failed check: for a terminal.")
def progress_logger(init_context: dg.InitLoggerContext) -> logging.Logger:
    """The logger of `student-pipeline run`."""
    logger = logging.Logger("student_pipeline.progress", level=logging.DEBUG)
    logger.addHandler(ProgressHandler())
    return logger
