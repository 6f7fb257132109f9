"""The command `student-pipeline`.

Exit status: 0 all is well (warnings too); 1 a run or a blocking check failed, gold is not fresh
(`status`), a run holds the warehouse (`quarantine`, `export`, `import`, `fingerprint`), tables differ
(`fingerprint --compare`, `import`); 2 wrong usage or settings, no warehouse (but for `status`).
"""

import argparse
import fcntl
import io
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from student_pipeline import engine
from student_pipeline.permissions import (
    make_private_folder,
    make_publish_folder,
    private,
    publish_mode,
)
from student_pipeline.settings import (
    DAGSTER_HOME_DEFAULT,
    PROJECT_ROOT,
    SettingsError,
    use_default_places,
)

if TYPE_CHECKING:
    from dagster import AssetKey, AssetsDefinition, DagsterInstance

GOOD, FAILED, WRONG_USAGE = 0, 1, 2

REBUILT = ("silver/", "quarantine/", "gold/")
"""The tables that a full refresh rebuilds."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    # A file name or an id that the terminal has no letters for must not end a run.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except SettingsError as error:
        print(f"student-pipeline: {error}", file=sys.stderr)
        return WRONG_USAGE
    except KeyboardInterrupt:
        print("student-pipeline: stopped.", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="student-pipeline", description="School files in, trusted tables out."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="materialize and check everything, here and now")
    run.add_argument(
        "--full-refresh",
        action="store_true",
        help="rebuild silver, quarantine and gold from bronze",
    )
    run.add_argument(
        "--select",
        nargs="+",
        default=[],
        metavar="TABLE",
        help="only these tables, such as silver/fact_attend, with their checks; what is made of "
        "them waits, and nothing is published; default all",
    )
    run.set_defaults(command=_run)

    status = commands.add_parser("status", help="say how runs, tables and checks stand")
    status.set_defaults(command=_status)

    quarantine = commands.add_parser(
        "quarantine", help="list the refused rows, or write them to a CSV file"
    )
    quarantine.add_argument("--reason", metavar="REASON", help="only this reason")
    quarantine.add_argument("--source", metavar="SOURCE", help="only this source")
    quarantine.add_argument(
        "--csv", type=Path, metavar="FILE", help="write whole rows, names included, to this file"
    )
    quarantine.set_defaults(command=_quarantine)

    export = commands.add_parser("export", help="write the warehouse to a folder of Parquet files")
    export.add_argument("folder", help="where to; empty, or made")
    export.set_defaults(command=_export)

    import_ = commands.add_parser("import", help="fill an empty warehouse from an export")
    import_.add_argument("folder", help="what `export` wrote")
    import_.set_defaults(command=_import)

    fingerprint = commands.add_parser(
        "fingerprint", help="say what every table holds in 16 letters, the same on every engine"
    )
    fingerprint.add_argument(
        "--compare", metavar="FOLDER", help="compare with what `export` wrote there"
    )
    fingerprint.set_defaults(command=_fingerprint)

    sample = commands.add_parser("sample", help="write sample source files of any size")
    sample.add_argument("folder", type=Path, help="where to write them; made when missing")
    sample.add_argument("--students", type=int, default=1_200, metavar="N", help="default 1200")
    sample.add_argument("--attendance", type=int, default=5_000, metavar="N", help="default 5000")
    sample.add_argument("--assessments", type=int, default=3_000, metavar="N", help="default 3000")
    sample.add_argument("--seed", type=int, default=20250901, help="same seed, same files")
    sample.add_argument("--clean", action="store_true", help="without a single flaw")
    sample.set_defaults(command=_sample)
    return parser


def _sample(options: argparse.Namespace) -> int:
    from student_pipeline.sample_data import write_sample

    started = time.monotonic()
    try:
        written = write_sample(
            options.folder,
            students=options.students,
            attendance=options.attendance,
            assessments=options.assessments,
            seed=options.seed,
            dirt=not options.clean,
        )
    except ValueError as error:
        raise SettingsError(str(error)) from error
    except OSError as error:
        raise SettingsError(f"{error.filename} can't be written: {error.strerror}.") from error
    for source, rows in written.rows.items():
        flaws = sum(written.dirt[source].values())
        print(f"{source:<12} {rows:>12,} rows, {flaws:,} of them with a flaw")
    print(f"Written to {options.folder} in {time.monotonic() - started:.1f} s.")
    return GOOD


def _status(options: argparse.Namespace) -> int:
    use_default_places()
    _settle_dagster_home()
    from student_pipeline.status import print_status

    with _dagster_instance() as instance:
        good = print_status(instance, os.environ[engine.WAREHOUSE])
    return GOOD if good else FAILED


def _quarantine(options: argparse.Namespace) -> int:
    use_default_places()
    from student_pipeline.refused import known_from_history, report_quarantine
    from student_pipeline.warehouse.connection import WarehouseBusy

    try:
        report_quarantine(
            os.environ[engine.WAREHOUSE],
            source=options.source,
            reason=options.reason,
            csv_file=options.csv,
        )
    except WarehouseBusy as error:
        _settle_dagster_home()
        with _dagster_instance() as instance:
            known = known_from_history(instance)
        print(f"student-pipeline: {error} Try again after it. {known}", file=sys.stderr)
        return FAILED
    return GOOD


def _transfer(work: Callable[[str], int]) -> int:
    """Do what moves or compares the tables of the warehouse; what keeps it from that is a sentence."""
    use_default_places()
    import duckdb

    from student_pipeline.transfer import TransferFailed
    from student_pipeline.warehouse.connection import WarehouseBusy, sentence_of
    from student_pipeline.warehouse.reading import WarehouseMissing

    try:
        return work(os.environ[engine.WAREHOUSE])
    except (WarehouseBusy, TransferFailed) as error:
        print(f"student-pipeline: {error}", file=sys.stderr)
        return FAILED
    except duckdb.Error as error:
        print(f"student-pipeline: {sentence_of(error)}", file=sys.stderr)
        return FAILED
    except OSError as error:
        reason = ": ".join(filter(None, (error.filename, error.strerror))) or str(error)
        print(f"student-pipeline: {reason}", file=sys.stderr)
        return FAILED
    except WarehouseMissing as error:
        raise SettingsError(str(error)) from error


def _export(options: argparse.Namespace) -> int:
    from student_pipeline.progress import count, say
    from student_pipeline.transfer import export_to

    def work(place: str) -> int:
        with engine.opened(place, read_only=True) as opened:
            export = export_to(opened, options.folder, say)
        rows = sum(found.rows for found in export.fingerprints.values())
        say(f"Exported to {options.folder}: {count(rows, 'row')} of {opened.name}.")
        return GOOD

    return _transfer(work)


def _import(options: argparse.Namespace) -> int:
    from student_pipeline.progress import say
    from student_pipeline.transfer import import_from

    def work(place: str) -> int:
        with engine.opened(place, read_only=False) as opened:
            export = import_from(opened, options.folder, say)
        say(f"Every table holds in {opened.name} what it held in {export.engine}.")
        return GOOD

    return _transfer(work)


def _fingerprint(options: argparse.Namespace) -> int:
    from student_pipeline.progress import say
    from student_pipeline.transfer import compare, fingerprints, read_manifest

    def work(place: str) -> int:
        export = read_manifest(options.compare) if options.compare else None
        with engine.opened(place, read_only=True) as opened:
            found = fingerprints(opened)
        for name, one in found.items():
            say(f"{name:<34} {one.rows:>15,} rows  {one}")
        if export is None:
            return GOOD
        differences = compare(found, export)
        for difference in differences:
            say(str(difference))
        if not differences:
            say(f"Every table is as it was exported to {options.compare}.")
        return FAILED if differences else GOOD

    return _transfer(work)


def _run(options: argparse.Namespace) -> int:
    # Asked to end, a run ends as one that was interrupted: recorded as failed, locks let go.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` has it
            signal.signal(number, signal.default_int_handler)
    use_default_places()
    try:
        _require_usable_places()
    except SettingsError as error:
        with suppress(SettingsError):  # of the alerts: one sentence at a time
            _settle_dagster_home()
            with _dagster_instance() as instance:
                _alert(instance, error=str(error))
        raise
    _settle_dagster_home()

    import dagster as dg

    from student_pipeline.definitions import defs
    from student_pipeline.history_files import kept_open
    from student_pipeline.ingest.discovery import strangers
    from student_pipeline.jobs import JOB_NAME, full_refresh_config
    from student_pipeline.progress import say
    from student_pipeline.summary import print_summary

    config: dict[str, object] = {"loggers": {"progress": {}}}
    if options.full_refresh:
        config |= full_refresh_config()
    job = defs.resolve_job_def(JOB_NAME)
    steps = [asset for asset in defs.assets or () if isinstance(asset, dg.AssetsDefinition)]
    keys = _selected(steps, options.select)
    planned = [key.to_user_string() for key in keys]
    if options.full_refresh and not any(name.startswith(REBUILT) for name in planned):
        raise SettingsError(
            f"--full-refresh rebuilds silver, quarantine and gold from bronze; it has nothing to do "
            f"for {', '.join(planned)}. Leave it out, or select other tables."
        )
    others = strangers(os.environ["STUDENT_PIPELINE_SOURCE"])
    with private(), kept_open(), _dagster_instance() as instance:
        started = time.monotonic()
        say(f"Landing folder: {os.environ['STUDENT_PIPELINE_SOURCE']}")
        say(f"Warehouse:      {os.environ['STUDENT_PIPELINE_WAREHOUSE']}")
        say(f"Publish folder: {os.environ['STUDENT_PIPELINE_PUBLISH']}")
        say(f"Run history:    {os.environ['DAGSTER_HOME']}")
        along = [name for name in planned if name not in map(_asset_name, options.select)]
        if options.select and along:
            say(f"Made in the same step, so too: {', '.join(along)}.")
        try:
            result = job.execute_in_process(
                instance=instance,
                run_config=config,
                raise_on_error=False,
                asset_selection=keys if options.select else None,
            )
        # What a step raises is in the result; this is the run history that can't be written.
        except Exception as error:  # noqa: BLE001
            reason = f"{type(error).__name__}: {shorten(str(error), 300)}"
            print(f"student-pipeline: the run broke off: {reason}", file=sys.stderr)
            _alert(
                instance, error=f"It broke off with an error of the kind {type(error).__name__}."
            )
            return FAILED
        print_summary(
            result,
            planned,
            strangers=others,
            seconds=time.monotonic() - started,
        )
        _alert(instance, run_id=result.run_id)
    return GOOD if result.success else FAILED


def _selected(steps: "Sequence[AssetsDefinition]", names: Sequence[str]) -> "list[AssetKey]":
    """The assets of these names, and what is made in the same step; all where none is named."""
    known = {key.to_user_string() for step in steps for key in step.keys}
    unknown = [name for name in names if _asset_name(name) not in known]
    if unknown:
        raise SettingsError(
            f"--select: there is no table {', '.join(unknown)}; there are "
            f"{', '.join(sorted(known))}."
        )
    wanted = {_asset_name(name) for name in names}
    return [
        key
        for step in steps
        if not wanted or any(key.to_user_string() in wanted for key in step.keys)
        for key in sorted(step.keys)
    ]


def _asset_name(name: str) -> str:
    """`schema/table`, also of a name that is written as in SQL."""
    return name.replace(".", "/", 1)


def _alert(instance: "DagsterInstance", *, run_id: str = "", error: str = "") -> None:
    """Tell whoever is to be told about a run, or why there was none. It changes no exit status."""
    from student_pipeline.definitions import alerts, in_force

    if not alerts.configured:
        return
    from student_pipeline.alerts import tell
    from student_pipeline.checks import proofs

    def complain(sentence: str) -> None:
        print(f"student-pipeline: {sentence}", file=sys.stderr)

    settings = alerts.process_config_and_initialize()
    post = tell.post_of(settings, instance, in_force.schedule_time_zone, complain)
    if run_id:
        tell.tell_of_run(post, instance, run_id, proofs())
    else:
        tell.tell_of_no_run(post, error)


def _require_usable_places() -> None:
    """Raise `SettingsError` unless the landing folder is there and the others can be written."""
    from student_pipeline.ingest.discovery import LandingError, require_landing

    publish_mode()
    try:
        require_landing(os.environ["STUDENT_PIPELINE_SOURCE"])
    except LandingError as error:
        raise SettingsError(f"STUDENT_PIPELINE_SOURCE: {error}") from error
    try:
        engine.require_warehouse()
    except OSError as error:
        raise SettingsError(
            f"STUDENT_PIPELINE_WAREHOUSE: {os.environ['STUDENT_PIPELINE_WAREHOUSE']} "
            f"can't be written: {error.strerror}."
        ) from error
    _require_publish_folder(os.environ["STUDENT_PIPELINE_PUBLISH"])


def _require_publish_folder(place: str) -> None:
    """Raise `SettingsError` unless it is, or can become, a folder that takes files."""
    if "://" in place or (Path(place).exists() and not Path(place).is_dir()):
        raise SettingsError(f"STUDENT_PIPELINE_PUBLISH: {place} is no folder; expected one.")
    try:
        make_publish_folder(Path(place))
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise SettingsError(
            f"STUDENT_PIPELINE_PUBLISH: {place} can't be written: {error.strerror}."
        ) from error


def _settle_dagster_home() -> None:
    """Settle `DAGSTER_HOME`, with the project's `dagster.yaml` in it where it has none."""
    given = os.environ.get("DAGSTER_HOME") or PROJECT_ROOT / DAGSTER_HOME_DEFAULT
    home = Path(given).expanduser().absolute()
    try:
        make_private_folder(home)
        settings = PROJECT_ROOT / DAGSTER_HOME_DEFAULT / "dagster.yaml"
        if not (home / "dagster.yaml").exists() and settings.exists():
            shutil.copyfile(settings, home / "dagster.yaml")
    except OSError as error:
        raise SettingsError(
            f"DAGSTER_HOME: the folder {home} can't be written: {error.strerror}."
        ) from error
    os.environ["DAGSTER_HOME"] = str(home)


def _dagster_instance() -> "DagsterInstance":
    import dagster as dg

    try:
        # Two first runs at once would both make the tables of the history: one after the other.
        home = os.open(os.environ["DAGSTER_HOME"], os.O_RDONLY)
        try:
            fcntl.flock(home, fcntl.LOCK_EX)
            return dg.DagsterInstance.get()
        finally:
            os.close(home)
    except Exception as error:  # dagster.yaml may name any storage, which may raise anything
        raise SettingsError(
            f"DAGSTER_HOME: Dagster can't use {os.environ['DAGSTER_HOME']} and its dagster.yaml: "
            f"{shorten(str(error), 300)}"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
