"""The files of one more school day, made from those of a whole history.

1/180 of the attendance rows and assessments, 1 % corrections of older days among them, and a roster
in which 0.1 % of the students are in another class.
"""

from pathlib import Path

import duckdb

DAYS_OF_A_YEAR = 180


def write_day(history: Path, day: Path, years: int = 1) -> None:
    """Write `students_day.csv`, `attendance_day.csv` and `assessments_day.json`.

    Args:
        history: the folder with the files that are there already.
        years: how many school years these hold.
    """
    day.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute("SELECT setseed(0.5)")
        _load(connection, "students", f"read_csv('{history}/students.csv', all_varchar = true)")
        _load(connection, "attendance", f"read_csv('{history}/attendance.csv', all_varchar = true)")
        _load(
            connection,
            "assessments",
            f"read_json('{history}/assessments.json', columns = {{student_id: 'VARCHAR', "
            "subject: 'VARCHAR', score: 'VARCHAR', max_score: 'VARCHAR'})",
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
                    CASE WHEN random() < 0.93 THEN 'PRESENT' ELSE 'ABSENT' END AS status,
                    '2026-06-30T13:30:00Z' AS created_at
                FROM (SELECT student_id FROM students WHERE status IN ('ACTIVE', 'ENROLLED')
                    ORDER BY student_id LIMIT {rows - rows // 100})
                UNION ALL
                SELECT attend_id, student_id, date, 'EXCUSED', '2026-06-30T15:00:00Z'
                FROM (FROM attendance USING SAMPLE reservoir({rows // 100} ROWS) REPEATABLE (1))
            ) TO '{day}/attendance_day.csv' (HEADER)
            """
        )
        connection.execute(
            f"""
            COPY (
                SELECT 'N' || row_number() OVER () AS assessment_id, student_id, subject, score,
                    max_score, '2026-06-30' AS date, '2026-06-30T15:00:00Z' AS created_at
                FROM (FROM assessments USING SAMPLE reservoir({scores} ROWS) REPEATABLE (1))
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
