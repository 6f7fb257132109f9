"""The files that the contestants read: a school's history of any size, and one more day of it."""

from pathlib import Path

import duckdb

from student_pipeline.sample_data import write_sample

DAYS_OF_A_YEAR = 180
ROWS_OF_A_YEAR = 10_000_000
"""Attendance rows of the largest school in one year; more of them are more years."""


def history(folder: Path, attendance: int) -> Path:
    """The folder with the files of a school with so many attendance rows; made when missing.

    Without flaws, so that contestants without a quarantine build the same tables. A tenth as many
    assessments, and a student for each 200 rows, at most 50,000.
    """
    if not (folder / "assessments.json").exists():
        write_sample(
            folder,
            students=max(2, min(attendance, ROWS_OF_A_YEAR) // 200),
            attendance=attendance,
            assessments=attendance // 10,
            dirt=False,
        )
    return folder


def write_day(history: Path, day: Path, years: int) -> None:
    """Write `students_day.csv`, `attendance_day.csv` and `assessments_day.json`.

    1/180 of a year's attendance rows and assessments, 1 % corrections of older days among them, and
    a roster in which 0.1 % of the students are in another class. The same files for the same history.

    Args:
        history: the folder with the files that are there already.
        years: how many school years these hold.
    """
    day.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        _load(connection, "students", f"read_csv('{history}/students.csv', all_varchar = true)")
        _load(connection, "attendance", f"read_csv('{history}/attendance.csv', all_varchar = true)")
        _load(
            connection,
            "assessments",
            f"read_json('{history}/assessments.json', columns = {{assessment_id: 'VARCHAR', "
            "student_id: 'VARCHAR', subject: 'VARCHAR', score: 'DOUBLE', max_score: 'DOUBLE'})",
        )
        rows, scores = (
            connection.execute(
                f"SELECT count(*) // {DAYS_OF_A_YEAR * years} FROM {name}"
            ).fetchall()[0][0]
            for name in ("attendance", "assessments")
        )
        connection.execute(
            f"""
            COPY (
                SELECT 'N' || student_id AS attend_id, student_id, '2026-06-30' AS date,
                    CASE WHEN hash(student_id) % 100 < 93 THEN 'PRESENT' ELSE 'ABSENT' END AS status,
                    '2026-06-30T13:30:00Z' AS created_at
                FROM (SELECT student_id FROM students WHERE status IN ('ACTIVE', 'ENROLLED')
                    ORDER BY student_id LIMIT {rows - rows // 100})
                UNION ALL
                SELECT attend_id, student_id, date, 'EXCUSED', '2026-06-30T15:00:00Z'
                FROM (FROM attendance ORDER BY hash(attend_id) LIMIT {rows // 100})
            ) TO '{day}/attendance_day.csv' (HEADER)
            """
        )
        connection.execute(
            f"""
            COPY (
                SELECT 'N' || assessment_id AS assessment_id, student_id, subject, score,
                    max_score, '2026-06-30' AS date, '2026-06-30T15:00:00Z' AS created_at
                FROM (FROM assessments ORDER BY hash(assessment_id) LIMIT {scores})
            ) TO '{day}/assessments_day.json' (ARRAY true)
            """
        )
        moved = "row_number() OVER (ORDER BY student_id) % 1000 = 7"
        connection.execute(
            f"""
            COPY (
                SELECT * REPLACE (
                    CASE WHEN {moved} THEN 'G01-A' ELSE class_id END AS class_id,
                    CASE WHEN {moved} THEN '2026-06-30T10:00:00Z' ELSE updated_at END AS updated_at)
                FROM students ORDER BY student_id
            ) TO '{day}/students_day.csv' (HEADER)
            """
        )


def _load(connection: duckdb.DuckDBPyConnection, name: str, source: str) -> None:
    connection.execute(f"CREATE VIEW {name} AS FROM {source}")
