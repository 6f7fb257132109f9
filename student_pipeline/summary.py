"""What `student-pipeline run` says at the end: a table of the assets, and how the run went."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import dagster as dg
from tabulate import tabulate

from student_pipeline.progress import cause, count, is_failed_check, say
from student_pipeline.sources import FORMATS, SOURCES

_NAMES_THAT_DO = (
    "A file is found by its source's name: students.csv, students-2025.csv, students_2025.csv, or "
    f"any name in a folder students; likewise {', '.join(list(SOURCES)[1:])}. "
    f"Endings: .{', .'.join(FORMATS)}; all but .parquet also with .gz."
)

HEADERS = ("asset", "rows", "change", "checks passed", "warnings", "failed", "seconds")


def print_summary(
    result: dg.ExecuteInProcessResult,
    planned: Sequence[str],
    strangers: Sequence[str],
    seconds: float,
) -> None:
    """Assets, rows, checks, quarantined rows and times of a run.

    Args:
        planned: the assets that the run was to make, as `schema/table`.
        strangers: the files that look like data and whose name belongs to no source.
        seconds: how long the run took.
    """
    made: dict[str, dict[str, Any]] = {}
    took: dict[str, float] = {}
    step_of: dict[str, str] = {}
    passed, warned, failed = Counter[str](), Counter[str](), Counter[str]()
    problems = []
    for event in result.all_events:
        if event.is_step_materialization and event.asset_key:
            name = event.asset_key.to_user_string()
            metadata = event.step_materialization_data.materialization.metadata
            made[name] = {key: value.value for key, value in metadata.items()}
            step_of[name] = event.step_key or ""
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
        elif event.is_step_failure and not is_failed_check(event):
            problems.append(f"FAILED {event.step_key}: {cause(event)}")
        elif event.is_failure and not event.is_step_failure and not problems:
            problems.append(f"FAILED: {cause(event)}")
    rows = [
        (
            name,
            _number(metadata.get("dagster/row_count")),
            _change(metadata),
            _number(passed[name]),
            _number(warned[name] or None),
            _number(failed[name] or None),
            f"{took[step_of[name]]:.1f}" if step_of[name] in took else "",
        )
        for name, metadata in made.items()
    ]
    say()
    if rows:
        table = tabulate(rows, HEADERS, colalign=("left", *["right"] * 6), disable_numparse=True)
        for line in (*table.splitlines(), ""):
            say(line)
    say(
        f"{count(len(made), 'asset')}, {count(passed.total(), 'check')} passed, "
        f"{count(warned.total(), 'warning')}, {failed.total():,} failed; {seconds:.1f} s."
    )
    quarantines = [name for name in planned if name.startswith("quarantine/")]
    judged = [name for name in quarantines if name in made]
    all_judged = bool(quarantines) and judged == quarantines
    if judged:
        rows_in_it = sum(made[name]["dagster/row_count"] for name in judged)
        where = "quarantine" if all_judged else ", ".join(judged)
        say(f"{count(rows_in_it, 'row')} in {where}.")
    bronze = [about for about in made.values() if "files_found" in about]
    if bronze:
        say(_what_was_new(bronze, with_malformed=not all_judged))
    for name in strangers:
        say(f"Not read, since its name belongs to no source: {name}")
    if strangers:
        say(_NAMES_THAT_DO)
    for problem in problems:
        say(problem)
    waiting = [name for name in planned if name not in made]
    if waiting:
        say(f"Not made, so as they were before: {', '.join(waiting)}.")
    say(f"Run {result.run_id}: {'succeeded' if result.success else 'FAILED'}.")


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _change(metadata: dict[str, Any]) -> str:
    """Rows more or fewer than before."""
    if "rows_added" not in metadata:
        return ""
    return f"{metadata['rows_added'] - metadata.get('rows_removed', 0):+,}".replace("+0", "0")


def _what_was_new(bronze: list[dict[str, Any]], *, with_malformed: bool) -> str:
    """What the run loaded.

    Args:
        with_malformed: also the broken records, where no count of the whole quarantine says it.
    """
    found, loaded, refused, added, malformed = (
        sum(about[key] for about in bronze)
        for key in ("files_found", "files_loaded", "files_refused", "rows_added", "rows_malformed")
    )
    if not found:
        return "Nothing new: there is no source file in the landing folder."
    if not loaded and not refused:
        return "Nothing new: every file was loaded before."
    said = [f"{count(loaded, 'file')} loaded, {count(added, 'row')} of them new or changed"]
    if malformed and with_malformed:
        said.append(f"{count(malformed, 'broken record')} put into quarantine")
    if refused:
        said.append(f"{count(refused, 'file')} refused")
    return f"{'; '.join(said)}."
