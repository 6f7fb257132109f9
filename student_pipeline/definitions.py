"""Everything that Dagster sees, on one page."""

import os

import dagster as dg

from student_pipeline import engine
from student_pipeline.alerts.settings import load_alerts
from student_pipeline.assets import bronze, gold, published, silver
from student_pipeline.assets.table_asset import landing_specs
from student_pipeline.checks import CHECKS
from student_pipeline.freshness import freshness_policy
from student_pipeline.ingest.delivery import LandingFolder
from student_pipeline.jobs import STUDENT_DATA_PIPELINE
from student_pipeline.progress import progress_logger
from student_pipeline.published_checks import published_checks
from student_pipeline.reports.folder import PublishFolder
from student_pipeline.schedules import daily_schedule
from student_pipeline.sensors import alert_sensors, landing_sensor
from student_pipeline.settings import Rules, load_rules, use_default_places

use_default_places()
in_force = load_rules()
alerts = load_alerts()
fresh = freshness_policy(in_force.schedule_time_zone)
# Configured at launch: what the launchpad says then holds for whatever nests it.
rules = Rules.configure_at_launch(**in_force.model_dump())

defs = dg.Definitions(
    assets=[
        *landing_specs(os.environ["STUDENT_PIPELINE_SOURCE"]),
        *dg.map_asset_specs(
            lambda spec: spec.replace_attributes(freshness_policy=fresh),
            [*bronze.ASSETS, *silver.ASSETS, *gold.ASSETS, *published.ASSETS],
        ),
    ],
    asset_checks=[*CHECKS, published_checks],
    jobs=[STUDENT_DATA_PIPELINE],
    schedules=[daily_schedule(in_force.schedule_time_zone)],
    sensors=[
        landing_sensor(os.environ["STUDENT_PIPELINE_SOURCE"], in_force.landing_settle_seconds),
        *alert_sensors(alerts, in_force),
    ],
    resources={
        "alerts": alerts,
        "rules": rules,
        "landing": LandingFolder(url=dg.EnvVar("STUDENT_PIPELINE_SOURCE"), rules=rules),
        "publish": PublishFolder(path=dg.EnvVar("STUDENT_PIPELINE_PUBLISH")),
        **engine.resources(),
    },
    executor=dg.in_process_executor,
    loggers={"console": dg.colored_console_logger, "progress": progress_logger},
)
