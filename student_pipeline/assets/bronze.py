"""Bronze: the files as they came."""

from student_pipeline import sources, tables
from student_pipeline.assets.table_asset import table_asset
from student_pipeline.ingest.delivery import Delivery, LandingFolder


@table_asset(tables.BRONZE_STUDENTS)
def students(landing: LandingFolder) -> Delivery:
    """An incoming row replaces the stored one of its id, unless it is older."""
    return landing.delivery(sources.STUDENTS)


@table_asset(tables.BRONZE_ATTENDANCE)
def attendance(landing: LandingFolder) -> Delivery:
    """Rows that are not there yet are appended; a correction is a new version."""
    return landing.delivery(sources.ATTENDANCE)


@table_asset(tables.BRONZE_ASSESSMENTS)
def assessments(landing: LandingFolder) -> Delivery:
    """Rows that are not there yet are appended; a correction is a new version."""
    return landing.delivery(sources.ASSESSMENTS)


ASSETS = [students, attendance, assessments]
