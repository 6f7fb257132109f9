"""The same eight tables with Polars: lazy frames, the streaming engine, Parquet files.

Clean files only: no quarantine, no ledger, no checks, no incremental load.

Usage: python build.py LANDING_FOLDER OUTPUT_FOLDER
"""

import sys
from datetime import datetime, timezone
from pathlib import Path

import polars as pl

GRADES = {"K": "0", "KG": "0", "KINDERGARTEN": "0", "PK": "-1", "PRE-K": "-1", "PREK": "-1"}
STATUSES = {
    **dict.fromkeys(("P", "PRESENT"), "PRESENT"),
    **dict.fromkeys(("A", "ABSENT", "U", "UNEXCUSED"), "ABSENT"),
    **dict.fromkeys(("L", "LATE", "T", "TARDY"), "LATE"),
    **dict.fromkeys(("E", "EXCUSED"), "EXCUSED"),
}
ASSESSMENT = {
    "assessment_id": pl.String,
    "student_id": pl.String,
    "subject": pl.String,
    "score": pl.Float64,
    "max_score": pl.Float64,
    "date": pl.String,
    "created_at": pl.String,
}


def text(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars()


def day(column: str) -> pl.Expr:
    return text(column).str.to_date("%Y-%m-%d", strict=False)


def timestamp(column: str) -> pl.Expr:
    return text(column).str.to_datetime("%Y-%m-%dT%H:%M:%S%#z", time_zone="UTC", strict=False)


def rounded(value: pl.Expr, digits: int) -> pl.Expr:
    """Halves up, as the definitions of the tables say."""
    return (value * 10**digits + 0.5).floor() / 10**digits


def share(part: str, whole: str) -> pl.Expr:
    """To four digits; null where there is nothing to divide by."""
    whole_or_null = pl.when(pl.col(whole) > 0).then(pl.col(whole))
    return (pl.col(part) * 10_000 / whole_or_null + 0.5).floor() / 10_000


def write(schema: Path, **tables: pl.LazyFrame) -> dict[str, pl.LazyFrame]:
    """Compute the tables together, write each to a file, and hand back scans of the files."""
    schema.mkdir()
    files = {name: schema / f"{name}.parquet" for name in tables}
    sinks = [table.sink_parquet(files[name], lazy=True) for name, table in tables.items()]
    pl.collect_all(sinks, engine="streaming")
    return {name: pl.scan_parquet(file) for name, file in files.items()}


def bronze(landing: Path) -> dict[str, pl.LazyFrame]:
    now = datetime.now(timezone.utc)

    def lineage(table: pl.LazyFrame, file: str) -> pl.LazyFrame:
        return table.with_columns(_ingested_at=pl.lit(now), _source_file=pl.lit(file))

    assessments = pl.read_json(landing / "assessments.json", schema=ASSESSMENT).lazy()
    return {
        "students": lineage(
            pl.scan_csv(landing / "students.csv", infer_schema=False), "students.csv"
        ),
        "attendance": lineage(
            pl.scan_csv(landing / "attendance.csv", infer_schema=False), "attendance.csv"
        ),
        "assessments": lineage(assessments, "assessments.json"),
    }


def latest(table: pl.LazyFrame, key: str, time: str) -> pl.LazyFrame:
    """The newest version of each id."""
    return (
        table.drop_nulls(key)
        .sort(time, nulls_last=False, maintain_order=True)
        .unique(key, keep="last")
    )


def dim_student(students: pl.LazyFrame) -> pl.LazyFrame:
    grade = text("grade").str.to_uppercase().str.replace_all(" ", "").str.strip_prefix("GRADE")
    status = text("status").str.to_uppercase()
    return latest(
        students.select(
            student_id=text("student_id"),
            student_name=text("name").fill_null("Unknown"),
            class_id=text("class_id").fill_null("UNASSIGNED"),
            grade_level=grade.replace(GRADES)
            .str.extract(r"^(-1|\d{1,2})(?:\.0|ST|ND|RD|TH)?$")
            .cast(pl.Int32),
            is_active=status.is_in(["ACTIVE", "ENROLLED"]).fill_null(False),
            enrollment_status=status.fill_null("UNKNOWN"),
            updated_at=timestamp("updated_at"),
        ),
        "student_id",
        "updated_at",
    )


def fact_attend(attendance: pl.LazyFrame, students: pl.LazyFrame) -> pl.LazyFrame:
    typed = attendance.select(
        attend_id=text("attend_id"),
        student_id=text("student_id"),
        attend_date=day("date"),
        status=text("status").str.to_uppercase().replace_strict(STATUSES, default=None),
        created_at=timestamp("created_at"),
    )
    return (
        latest(typed, "attend_id", "created_at")
        .join(students.select("student_id", "class_id"), on="student_id")
        .drop_nulls(["attend_date", "status"])
        .with_columns(is_present=pl.col("status").is_in(["PRESENT", "LATE"]))
        .sort("created_at", "is_present", "attend_id", descending=True, nulls_last=True)
        .with_columns(counts_for_day=pl.struct("student_id", "attend_date").is_first_distinct())
    )


def fact_assess(assessments: pl.LazyFrame, students: pl.LazyFrame) -> pl.LazyFrame:
    typed = assessments.select(
        assess_id=text("assessment_id"),
        student_id=text("student_id"),
        subject=text("subject").fill_null("Unknown"),
        assess_date=day("date"),
        score=pl.col("score"),
        max_score=pl.col("max_score").fill_null(100),
        created_at=timestamp("created_at"),
    )
    return (
        latest(typed, "assess_id", "created_at")
        .join(students.select("student_id", "class_id"), on="student_id")
        .drop_nulls("assess_date")
        .filter(pl.col("max_score") > 0, pl.col("score").is_between(0, pl.col("max_score")))
        .with_columns(score_pct=rounded(100 * pl.col("score") / pl.col("max_score"), 2))
    )


def class_daily_performance(
    students: pl.LazyFrame, attendance: pl.LazyFrame, assessments: pl.LazyFrame
) -> pl.LazyFrame:
    classes = students.filter("is_active").group_by("class_id").agg(total_students=pl.len())
    attended = (
        attendance.filter("counts_for_day")
        .group_by("class_id", date="attend_date")
        .agg(
            students_with_attendance=pl.len(),
            present_count=pl.col("is_present").sum(),
            absent_count=pl.col("is_present").not_().sum(),
        )
    )
    assessed = assessments.group_by("class_id", date="assess_date").agg(
        students_with_assessment=pl.col("student_id").n_unique(),
        assessment_count=pl.len(),
        avg_score=rounded(pl.col("score_pct").mean(), 2),
    )
    counts = [
        "total_students",
        "students_with_attendance",
        "present_count",
        "absent_count",
        "students_with_assessment",
        "assessment_count",
    ]
    return (
        attended.join(assessed, on=["class_id", "date"], how="full", coalesce=True)
        .join(classes, on="class_id", how="left")
        .with_columns(pl.col(counts).fill_null(0).cast(pl.Int64))
        .with_columns(
            attendance_rate=share("present_count", "students_with_attendance"),
            attendance_coverage=share("students_with_attendance", "total_students"),
        )
        .sort("class_id", "date")
    )


def student_performance_summary(
    students: pl.LazyFrame, attendance: pl.LazyFrame, assessments: pl.LazyFrame
) -> pl.LazyFrame:
    attended = (
        attendance.filter("counts_for_day")
        .group_by("student_id")
        .agg(
            total_attendance_days=pl.len(),
            present_days=pl.col("is_present").sum(),
            absent_days=pl.col("is_present").not_().sum(),
            late_days=(pl.col("status") == "LATE").sum(),
            excused_days=(pl.col("status") == "EXCUSED").sum(),
        )
    )
    assessed = assessments.group_by("student_id").agg(
        total_assessments=pl.len(),
        avg_score=rounded(pl.col("score_pct").mean(), 2),
        min_score=pl.col("score_pct").min(),
        max_score=pl.col("score_pct").max(),
    )
    counts = [
        "total_attendance_days",
        "present_days",
        "absent_days",
        "late_days",
        "excused_days",
        "total_assessments",
    ]
    days, absent = pl.col("total_attendance_days"), pl.col("absent_days")
    return (
        students.select("student_id", "class_id", "is_active")
        .join(attended, on="student_id", how="left")
        .join(assessed, on="student_id", how="left")
        .with_columns(pl.col(counts).fill_null(0).cast(pl.Int64))
        .with_columns(
            attendance_rate=share("present_days", "total_attendance_days"),
            is_chronically_absent=(days >= 10) & (absent * 100 >= days * 10),
        )
        .sort("student_id")
    )


def main(landing: Path, output: Path) -> None:
    """Write `bronze`, `silver` and `gold` into the output folder, a Parquet file a table."""
    raw = write(output / "bronze", **bronze(landing))
    students = dim_student(raw["students"])
    silver = write(
        output / "silver",
        dim_student=students,
        fact_attend=fact_attend(raw["attendance"], students),
        fact_assess=fact_assess(raw["assessments"], students),
    )
    tables = (silver["dim_student"], silver["fact_attend"], silver["fact_assess"])
    write(
        output / "gold",
        class_daily_performance=class_daily_performance(*tables),
        student_performance_summary=student_performance_summary(*tables),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
