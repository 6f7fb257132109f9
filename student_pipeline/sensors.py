"""What the daemon watches: the landing folder, the ends of runs, and the deadline."""

import time
from datetime import datetime, timezone

import dagster as dg

from student_pipeline import landing_watch
from student_pipeline.alerts.settings import Alerts
from student_pipeline.ingest.discovery import LandingError
from student_pipeline.jobs import JOB_NAME, STUDENT_DATA_PIPELINE
from student_pipeline.landing_watch import Settled, StillMoving, Watch
from student_pipeline.settings import Rules

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def landing_sensor(url: str, settle_seconds: float) -> dg.SensorDefinition:
    """Starts the job when new files have settled in the landing folder; off until switched on."""

    @dg.sensor(
        name="new_files",
        job=STUDENT_DATA_PIPELINE,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            "Starts the job when files in the landing folder are new or changed and nobody wrote "
            "to them for a while. It starts it once for the same content."
        ),
    )
    def new_files(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        return look_for_files(context.instance, context.cursor, url, time.time(), settle_seconds)

    return new_files


def look_for_files(
    instance: dg.DagsterInstance,
    cursor: str | None,
    url: str,
    now: float,
    settle_seconds: float,
) -> dg.SensorResult | dg.SkipReason:
    """One look of the sensor.

    Args:
        cursor: of the last look.
        url: the landing folder.
        now: seconds since 1970.
    """
    watch = Watch.from_cursor(cursor)
    try:
        files = landing_watch.landing_files(url)
        looks = landing_watch.looks_of(files)

        def content(path: str) -> str:
            found = landing_watch.content_of(files[path])
            if landing_watch.looks_of({path: files[path]})[path] != looks[path]:
                raise StillMoving(f"{path} changed.")
            return found

        found = landing_watch.look(watch, looks, now, settle_seconds, content)
    except (LandingError, StillMoving) as error:
        return dg.SkipReason(str(error))
    except OSError as error:
        return dg.SkipReason(f"A file in {url} can't be read: {error.strerror}.")
    if not isinstance(found, Settled):
        return dg.SensorResult(skip_reason=found, cursor=watch.cursor())
    runs = instance.get_runs(
        dg.RunsFilter(
            job_name=JOB_NAME,
            statuses=[dg.DagsterRunStatus.SUCCESS, *UNFINISHED],
            created_after=datetime.fromtimestamp(found.since, timezone.utc),
        )
    )
    if any(run.status == dg.DagsterRunStatus.SUCCESS for run in runs):
        return dg.SensorResult(
            skip_reason="A run has read the new files already.", cursor=watch.cursor()
        )
    if runs:  # it may read them, or fail: the cursor stays, so they are looked at again
        return dg.SkipReason("A run is at work that began after the new files had come.")
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=found.key, tags={"new_files": str(found.files)})],
        cursor=watch.cursor(),
    )


def alert_sensors(alerts: Alerts, rules: Rules) -> list[dg.SensorDefinition]:
    """Tell people how runs end, and that none did: on where somebody is to be told."""
    status = dg.DefaultSensorStatus.RUNNING if alerts.configured else dg.DefaultSensorStatus.STOPPED

    @dg.run_failure_sensor(
        name="alert_on_failure",
        default_status=status,
        description="Tells why a run failed and which checks did not pass.",
    )
    def alert_on_failure(context: dg.RunFailureSensorContext, alerts: Alerts) -> None:
        _tell_of_run(context, alerts, rules)

    @dg.run_status_sensor(
        dg.DagsterRunStatus.SUCCESS,
        name="alert_on_success",
        default_status=status,
        description="Tells which checks of a run warned, and what is over.",
    )
    def alert_on_success(context: dg.RunStatusSensorContext, alerts: Alerts) -> None:
        _tell_of_run(context, alerts, rules)

    @dg.sensor(
        name="alert_on_stale_tables",
        minimum_interval_seconds=600,
        default_status=status,
        description="Tells that tables were not made anew by the deadline, and when they were.",
    )
    def alert_on_stale_tables(context: dg.SensorEvaluationContext, alerts: Alerts) -> dg.SkipReason:
        from student_pipeline.alerts import stale, tell

        zone = rules.schedule_time_zone
        post = tell.post_of(alerts, context.instance, zone, context.log.error)
        seen = stale.stale_tables(context.instance, datetime.now(timezone.utc), zone)
        told = tell.tell(post, seen, "")
        return dg.SkipReason(f"{len(seen.problems)} problems; {told} messages sent.")

    return [alert_on_failure, alert_on_success, alert_on_stale_tables]


def _tell_of_run(context: dg.RunStatusSensorContext, alerts: Alerts, rules: Rules) -> None:
    from student_pipeline.alerts import tell
    from student_pipeline.checks import proofs

    post = tell.post_of(alerts, context.instance, rules.schedule_time_zone, context.log.error)
    told = tell.tell_of_run(post, context.instance, context.dagster_run.run_id, proofs())
    context.log.info(f"{told} messages sent.")
