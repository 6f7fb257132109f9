"""Silver: one version of the truth, and the quarantine of what it refuses."""

from student_pipeline import tables
from student_pipeline.assets.table_asset import table_asset
from student_pipeline.settings import EARLIEST_DATE, Rules
from student_pipeline.sources import PRESENT_STATUSES
from student_pipeline.warehouse import sql
from student_pipeline.warehouse.values import Relation, Select, select


@table_asset(
    tables.DIM_STUDENT,
    reads=[tables.BRONZE_STUDENTS],
    sql=sql.text("silver/dim_student.sql"),
)
def dim_student(students: Relation) -> Select:
    """Every student of the roster, typed, with defaults for what is missing."""
    return select("silver/dim_student.sql", students=students)


@table_asset(
    tables.FACT_ATTEND,
    reads=[tables.BRONZE_ATTENDANCE, tables.DIM_STUDENT],
    sql=sql.text("silver/fact_attend.sql"),
)
def fact_attend(attendance: Relation, dim_student: Relation, rules: Rules) -> Select:
    """The latest version of each record counts; one record counts for a student and day."""
    return select(
        "silver/fact_attend.sql",
        attendance=attendance,
        dim_student=dim_student,
        statuses=sql.vocabulary(rules.attendance_statuses),
        present_statuses=", ".join(map(sql.literal, PRESENT_STATUSES)),
        earliest_date=EARLIEST_DATE,
    )


@table_asset(
    tables.FACT_ASSESS,
    reads=[tables.BRONZE_ASSESSMENTS, tables.DIM_STUDENT],
    sql=sql.text("silver/fact_assess.sql"),
)
def fact_assess(assessments: Relation, dim_student: Relation) -> Select:
    """The latest version of each record counts; scores are made comparable as a percentage."""
    return select(
        "silver/fact_assess.sql",
        assessments=assessments,
        dim_student=dim_student,
        earliest_date=EARLIEST_DATE,
    )


ASSETS = [dim_student, fact_attend, fact_assess]
