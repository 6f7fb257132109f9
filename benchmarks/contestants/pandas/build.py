"""The same eight tables with pandas: frames in memory, Parquet files.

Clean files only: no quarantine, no ledger, no checks, no incremental load.

Usage: python build.py LANDING_FOLDER OUTPUT_FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

GRADES = {"K": "0", "KG": "0", "KINDERGARTEN": "0", "PK": "-1", "PRE-K": "-1", "PREK": "-1"}
STATUSES = {
    **dict.fromkeys(("P", "PRESENT"), "PRESENT"),
    **dict.fromkeys(("A", "ABSENT", "U", "UNEXCUSED"), "ABSENT"),
    **dict.fromkeys(("L", "LATE", "T", "TARDY"), "LATE"),
    **dict.fromkeys(("E", "EXCUSED"), "EXCUSED"),
}


def day(column: pd.Series) -> pd.Series:
    return pd.to_datetime(column.str.strip(), format="%Y-%m-%d", errors="coerce")


def timestamp(column: pd.Series) -> pd.Series:
    return pd.to_datetime(column.str.strip(), format="ISO8601", utc=True, errors="coerce")


def rounded(values: pd.Series, digits: int) -> pd.Series:
    """Halves up, as the definitions of the tables say; `round` takes them to the even digit."""
    return np.floor(values * 10**digits + 0.5) / 10**digits


def share(part: pd.Series, whole: pd.Series) -> pd.Series:
    """To four digits; missing where there is nothing to divide by."""
    return np.floor(part * 10_000 / whole.where(whole > 0) + 0.5) / 10_000


def bronze(landing: Path) -> dict[str, pd.DataFrame]:
    now = pd.Timestamp.now(tz="UTC")
    students = pd.read_csv(landing / "students.csv", dtype=str, engine="pyarrow")
    attendance = pd.read_csv(landing / "attendance.csv", dtype=str, engine="pyarrow")
    assessments = pd.read_json(landing / "assessments.json", dtype=False)
    return {
        "students": students.assign(_ingested_at=now, _source_file="students.csv"),
        "attendance": attendance.assign(_ingested_at=now, _source_file="attendance.csv"),
        "assessments": assessments.assign(_ingested_at=now, _source_file="assessments.json"),
    }


def latest(table: pd.DataFrame, key: str, time: str) -> pd.DataFrame:
    """The newest version of each id."""
    return (
        table.dropna(subset=key)
        .sort_values(time, na_position="first", kind="stable")
        .drop_duplicates(key, keep="last")
    )


def dim_student(students: pd.DataFrame) -> pd.DataFrame:
    grade = students["grade"].str.strip().str.upper().str.replace(" ", "").str.removeprefix("GRADE")
    status = students["status"].str.strip().str.upper()
    typed = pd.DataFrame(
        {
            "student_id": students["student_id"].str.strip(),
            "student_name": students["name"].str.strip().fillna("Unknown"),
            "class_id": students["class_id"].str.strip().fillna("UNASSIGNED"),
            "grade_level": grade.replace(GRADES)
            .str.extract(r"^(-1|\d{1,2})(?:\.0|ST|ND|RD|TH)?$", expand=False)
            .astype("Int32"),
            "is_active": status.isin(["ACTIVE", "ENROLLED"]),
            "enrollment_status": status.fillna("UNKNOWN"),
            "updated_at": timestamp(students["updated_at"]),
        }
    )
    return latest(typed, "student_id", "updated_at")


def fact_attend(attendance: pd.DataFrame, students: pd.DataFrame) -> pd.DataFrame:
    typed = pd.DataFrame(
        {
            "attend_id": attendance["attend_id"].str.strip(),
            "student_id": attendance["student_id"].str.strip(),
            "attend_date": day(attendance["date"]),
            "status": attendance["status"].str.strip().str.upper().map(STATUSES),
            "created_at": timestamp(attendance["created_at"]),
        }
    )
    facts = (
        latest(typed, "attend_id", "created_at")
        .merge(students[["student_id", "class_id"]], on="student_id")
        .dropna(subset=["attend_date", "status"])
    )
    facts["is_present"] = facts["status"].isin(["PRESENT", "LATE"])
    facts = facts.sort_values(["created_at", "is_present", "attend_id"], na_position="first")
    facts["counts_for_day"] = ~facts.duplicated(["student_id", "attend_date"], keep="last")
    return facts


def fact_assess(assessments: pd.DataFrame, students: pd.DataFrame) -> pd.DataFrame:
    typed = pd.DataFrame(
        {
            "assess_id": assessments["assessment_id"].str.strip(),
            "student_id": assessments["student_id"].str.strip(),
            "subject": assessments["subject"].str.strip().fillna("Unknown"),
            "assess_date": day(assessments["date"]),
            "score": assessments["score"],
            "max_score": assessments["max_score"].fillna(100.0),
            "created_at": timestamp(assessments["created_at"]),
        }
    )
    facts = (
        latest(typed, "assess_id", "created_at")
        .merge(students[["student_id", "class_id"]], on="student_id")
        .dropna(subset="assess_date")
        .query("max_score > 0 and 0 <= score <= max_score")
    )
    return facts.assign(score_pct=rounded(100 * facts["score"] / facts["max_score"], 2))


def class_daily_performance(
    students: pd.DataFrame, attendance: pd.DataFrame, assessments: pd.DataFrame
) -> pd.DataFrame:
    classes = students[students["is_active"]].groupby("class_id").size().rename("total_students")
    attended = (
        attendance[attendance["counts_for_day"]]
        .rename(columns={"attend_date": "date"})
        .groupby(["class_id", "date"])
        .agg(students_with_attendance=("is_present", "size"), present_count=("is_present", "sum"))
    )
    assessed = (
        assessments.rename(columns={"assess_date": "date"})
        .groupby(["class_id", "date"])
        .agg(
            students_with_assessment=("student_id", "nunique"),
            assessment_count=("student_id", "size"),
            avg_score=("score_pct", "mean"),
        )
    )
    days = attended.join(assessed, how="outer").join(classes, on="class_id")
    counts = [
        "total_students",
        "students_with_attendance",
        "present_count",
        "students_with_assessment",
        "assessment_count",
    ]
    days[counts] = days[counts].fillna(0).astype("int64")
    days["absent_count"] = days["students_with_attendance"] - days["present_count"]
    days["attendance_rate"] = share(days["present_count"], days["students_with_attendance"])
    days["attendance_coverage"] = share(days["students_with_attendance"], days["total_students"])
    days["avg_score"] = rounded(days["avg_score"], 2)
    return days.sort_index().reset_index()


def student_performance_summary(
    students: pd.DataFrame, attendance: pd.DataFrame, assessments: pd.DataFrame
) -> pd.DataFrame:
    counted = attendance[attendance["counts_for_day"]]
    attended = (
        counted.assign(
            is_late=counted["status"] == "LATE", is_excused=counted["status"] == "EXCUSED"
        )
        .groupby("student_id")
        .agg(
            total_attendance_days=("is_present", "size"),
            present_days=("is_present", "sum"),
            late_days=("is_late", "sum"),
            excused_days=("is_excused", "sum"),
        )
    )
    assessed = assessments.groupby("student_id")["score_pct"].agg(
        total_assessments="size", avg_score="mean", min_score="min", max_score="max"
    )
    summary = (
        students.set_index("student_id")[["class_id", "is_active"]].join(attended).join(assessed)
    )
    counts = [
        "total_attendance_days",
        "present_days",
        "late_days",
        "excused_days",
        "total_assessments",
    ]
    summary[counts] = summary[counts].fillna(0).astype("int64")
    days = summary["total_attendance_days"]
    summary["absent_days"] = days - summary["present_days"]
    summary["attendance_rate"] = share(summary["present_days"], days)
    summary["is_chronically_absent"] = (days >= 10) & (summary["absent_days"] * 100 >= days * 10)
    summary["avg_score"] = rounded(summary["avg_score"], 2)
    return summary.sort_index().reset_index()


def write(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    folder.mkdir()
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)


def main(landing: Path, output: Path) -> None:
    """Write `bronze`, `silver` and `gold` into the output folder, a Parquet file a table."""
    raw = bronze(landing)
    write(output / "bronze", raw)
    students = dim_student(raw["students"])
    attendance = fact_attend(raw["attendance"], students)
    assessments = fact_assess(raw["assessments"], students)
    write(
        output / "silver",
        {"dim_student": students, "fact_attend": attendance, "fact_assess": assessments},
    )
    tables = (students, attendance, assessments)
    write(
        output / "gold",
        {
            "class_daily_performance": class_daily_performance(*tables),
            "student_performance_summary": student_performance_summary(*tables),
        },
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
