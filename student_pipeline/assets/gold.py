"""Gold: what people read."""

from student_pipeline import tables
from student_pipeline.assets.table_asset import table_asset
from student_pipeline.settings import Rules
from student_pipeline.warehouse import sql
from student_pipeline.warehouse.values import Relation, Select, select


@table_asset(
    tables.CLASS_DAILY_PERFORMANCE,
    reads=[tables.DIM_STUDENT, tables.FACT_ATTEND, tables.FACT_ASSESS],
    sql=sql.text("gold/class_daily_performance.sql"),
)
def class_daily_performance(
    dim_student: Relation, fact_attend: Relation, fact_assess: Relation
) -> Select:
    """Attendance and scores of each class, day by day."""
    return select(
        "gold/class_daily_performance.sql",
        dim_student=dim_student,
        fact_attend=fact_attend,
        fact_assess=fact_assess,
    )


@table_asset(
    tables.STUDENT_PERFORMANCE_SUMMARY,
    reads=[tables.DIM_STUDENT, tables.FACT_ATTEND, tables.FACT_ASSESS],
    sql=sql.text("gold/student_performance_summary.sql"),
)
def student_performance_summary(
    dim_student: Relation, fact_attend: Relation, fact_assess: Relation, rules: Rules
) -> Select:
    """Attendance and scores of each student, and who is chronically absent."""
    return select(
        "gold/student_performance_summary.sql",
        dim_student=dim_student,
        fact_attend=fact_attend,
        fact_assess=fact_assess,
        min_days=rules.chronic_absence_min_days,
        chronic_percent=rules.chronic_absence_percent,
    )


ASSETS = [class_daily_performance, student_performance_summary]
