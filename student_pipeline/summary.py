"""The table at the end of `student-pipeline run`."""

from collections import defaultdict
from typing import Any

import dagster as dg
from tabulate import tabulate


def print_summary(result: dg.ExecuteInProcessResult, seconds: float) -> None:
    """Assets, rows, checks, quarantined rows and times of a run, and what to know of it."""
    made: dict[str, dict[str, Any]] = {}
    took: dict[str, float] = {}
    passed: dict[str, int] = defaultdict(int)
    failed: dict[str, int] = defaultdict(int)
    warned: dict[str, int] = defaultdict(int)
    problems = []
    steps: dict[str, str] = {}
    for event in result.all_events:
        if event.is_step_materialization and event.asset_key:
            name = event.asset_key.to_user_string()
            metadata = event.step_materialization_data.materialization.metadata
            made[name] = {key: value.value for key, value in metadata.items()}
            steps[name] = event.step_key or ""
        elif event.is_step_success:
            took[event.step_key or ""] = event.step_success_data.duration_ms / 1000
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            name = found.asset_key.to_user_string()
            if found.passed:
                passed[name] += 1
            elif found.severity == dg.AssetCheckSeverity.WARN:
                warned[name] += 1
            else:
                failed[name] += 1
                problems.append(f"FAILED {name}: {found.check_name}: {found.description}")
        elif event.is_step_failure and not _is_failed_check(event):
            problems.append(_problem(event))
    rows = [
        (
            name,
            f"{metadata['dagster/row_count']:,}",
            _added(metadata),
            passed[name],
            warned[name] or "",
            failed[name] or "",
            f"{took[steps[name]]:.1f}" if steps[name] in took else "",
        )
        for name, metadata in made.items()
    ]
    print()
    headers = ("asset", "rows", "added", "checks passed", "warnings", "failed", "seconds")
    print(tabulate(rows, headers=headers, colalign=("left", *["right"] * 6), disable_numparse=True))
    quarantined = sum(
        metadata["dagster/row_count"] for name, metadata in made.items() if name[0] == "q"
    )
    print()
    print(
        f"{len(made)} assets, {sum(passed.values())} checks passed, {sum(warned.values())} warnings, "
        f"{sum(failed.values())} failed; {quarantined:,} rows in quarantine; {seconds:.1f} s."
    )
    for problem in problems:
        print(problem)
    print(f"Run {result.run_id}: {'succeeded' if result.success else 'FAILED'}.")


def _added(metadata: dict[str, Any]) -> str:
    added = metadata.get("rows_added")
    return "" if added is None else f"{added:,}"


def _is_failed_check(event: dg.DagsterEvent) -> bool:
    """Whether the step failed only because a blocking check did, which was said before."""
    error = event.step_failure_data.error
    return bool(error and error.cls_name == "DagsterAssetCheckFailedError")


def _problem(event: dg.DagsterEvent) -> str:
    """Why a step failed, in its own words and without a traceback."""
    error = event.step_failure_data.error
    while error and error.cause:
        error = error.cause
    user = event.step_failure_data.user_failure_data
    message = (user.description if user else None) or (error.message if error else event.message)
    return f"{event.step_key}: {(message or '').strip()}"
