"""The same eight tables by hand: read the files, build the tables, nothing else.

No quarantine, no ledger, no checks, no odd formats, no incremental load, no Dagster: what a data
engineer would write in an afternoon for clean files. The pipeline's speed is told against it.

Usage: python build.py LANDING_FOLDER OUTPUT_FOLDER
"""

import sys

import duckdb

BRONZE = """
CREATE TABLE bronze.students AS
    SELECT *, now() AS _ingested_at, 'students.csv' AS _source_file
    FROM read_csv('{landing}/students.csv', all_varchar = true);
CREATE TABLE bronze.attendance AS
    SELECT *, now() AS _ingested_at, 'attendance.csv' AS _source_file
    FROM read_csv('{landing}/attendance.csv', all_varchar = true);
CREATE TABLE bronze.assessments AS
    SELECT *, now() AS _ingested_at, 'assessments.json' AS _source_file
    FROM read_json('{landing}/assessments.json', format = 'array', columns = {{
        assessment_id: 'VARCHAR', student_id: 'VARCHAR', subject: 'VARCHAR', score: 'VARCHAR',
        max_score: 'VARCHAR', date: 'VARCHAR', created_at: 'VARCHAR'}});
"""

SILVER = """
CREATE TABLE silver.dim_student AS
    SELECT
        trim(student_id) AS student_id,
        coalesce(trim(name), 'Unknown') AS student_name,
        coalesce(trim(class_id), 'UNASSIGNED') AS class_id,
        try_cast(regexp_extract(grade, '[0-9]+') AS INTEGER) AS grade_level,
        coalesce(upper(trim(status)) IN ('ACTIVE', 'ENROLLED'), false) AS is_active,
        coalesce(upper(trim(status)), 'UNKNOWN') AS enrollment_status,
        try_cast(updated_at AS TIMESTAMPTZ) AS updated_at
    FROM bronze.students
    WHERE student_id IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY trim(student_id) ORDER BY updated_at DESC) = 1;
CREATE TABLE silver.fact_attend AS
    WITH latest AS (
        SELECT
            trim(attend_id) AS attend_id,
            trim(student_id) AS student_id,
            try_cast(trim(date) AS DATE) AS attend_date,
            CASE upper(trim(status))
                WHEN 'P' THEN 'PRESENT' WHEN 'PRESENT' THEN 'PRESENT'
                WHEN 'A' THEN 'ABSENT' WHEN 'ABSENT' THEN 'ABSENT' WHEN 'U' THEN 'ABSENT'
                WHEN 'UNEXCUSED' THEN 'ABSENT'
                WHEN 'L' THEN 'LATE' WHEN 'LATE' THEN 'LATE' WHEN 'T' THEN 'LATE'
                WHEN 'TARDY' THEN 'LATE'
                WHEN 'E' THEN 'EXCUSED' WHEN 'EXCUSED' THEN 'EXCUSED'
            END AS status,
            try_cast(trim(created_at) AS TIMESTAMPTZ) AS created_at
        FROM bronze.attendance
        WHERE attend_id IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY attend_id ORDER BY created_at DESC) = 1
    )
    SELECT
        attend_id,
        latest.student_id,
        class_id,
        attend_date,
        status,
        status IN ('PRESENT', 'LATE') AS is_present,
        row_number() OVER (
            PARTITION BY latest.student_id, attend_date
            ORDER BY created_at DESC, is_present DESC, attend_id DESC) = 1 AS counts_for_day,
        created_at
    FROM latest JOIN silver.dim_student AS student ON latest.student_id = student.student_id
    WHERE attend_date IS NOT NULL AND status IS NOT NULL;
CREATE TABLE silver.fact_assess AS
    WITH latest AS (
        SELECT
            trim(assessment_id) AS assess_id,
            trim(student_id) AS student_id,
            coalesce(trim(subject), 'Unknown') AS subject,
            try_cast(trim(date) AS DATE) AS assess_date,
            try_cast(score AS DOUBLE) AS score,
            coalesce(try_cast(max_score AS DOUBLE), 100) AS max_score,
            try_cast(trim(created_at) AS TIMESTAMPTZ) AS created_at
        FROM bronze.assessments
        WHERE assessment_id IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY assessment_id ORDER BY created_at DESC) = 1
    )
    SELECT
        assess_id,
        latest.student_id,
        class_id,
        subject,
        assess_date,
        score,
        max_score,
        round(100 * score / max_score, 2) AS score_pct,
        created_at
    FROM latest JOIN silver.dim_student AS student ON latest.student_id = student.student_id
    WHERE assess_date IS NOT NULL AND score BETWEEN 0 AND max_score;
"""

GOLD = """
CREATE TABLE gold.class_daily_performance AS
    WITH classes AS (
        SELECT class_id, count(*) AS total_students FROM silver.dim_student
        WHERE is_active GROUP BY ALL
    ),
    attendance AS (
        SELECT
            class_id, attend_date AS date, count(*) AS students_with_attendance,
            count(*) FILTER (is_present) AS present_count,
            count(*) FILTER (NOT is_present) AS absent_count
        FROM silver.fact_attend WHERE counts_for_day GROUP BY ALL
    ),
    assessments AS (
        SELECT
            class_id, assess_date AS date,
            count(DISTINCT student_id) AS students_with_assessment,
            count(*) AS assessment_count, round(avg(score_pct), 2) AS avg_score
        FROM silver.fact_assess GROUP BY ALL
    )
    SELECT
        class_id, date, coalesce(total_students, 0) AS total_students,
        coalesce(students_with_attendance, 0) AS students_with_attendance,
        coalesce(present_count, 0) AS present_count,
        coalesce(absent_count, 0) AS absent_count,
        round(present_count / students_with_attendance, 4) AS attendance_rate,
        coalesce(students_with_assessment, 0) AS students_with_assessment,
        coalesce(assessment_count, 0) AS assessment_count,
        avg_score,
        round(coalesce(students_with_attendance, 0) / total_students, 4) AS attendance_coverage
    FROM attendance FULL JOIN assessments USING (class_id, date) LEFT JOIN classes USING (class_id)
    ORDER BY class_id, date;
CREATE TABLE gold.student_performance_summary AS
    WITH attendance AS (
        SELECT
            student_id, count(*) AS total_attendance_days,
            count(*) FILTER (is_present) AS present_days,
            count(*) FILTER (NOT is_present) AS absent_days,
            count(*) FILTER (status = 'LATE') AS late_days,
            count(*) FILTER (status = 'EXCUSED') AS excused_days
        FROM silver.fact_attend WHERE counts_for_day GROUP BY ALL
    ),
    assessments AS (
        SELECT
            student_id, count(*) AS total_assessments, round(avg(score_pct), 2) AS avg_score,
            min(score_pct) AS min_score, max(score_pct) AS max_score
        FROM silver.fact_assess GROUP BY ALL
    )
    SELECT
        student_id, class_id, is_active,
        coalesce(total_attendance_days, 0) AS total_attendance_days,
        coalesce(present_days, 0) AS present_days,
        coalesce(absent_days, 0) AS absent_days,
        coalesce(late_days, 0) AS late_days,
        coalesce(excused_days, 0) AS excused_days,
        round(present_days / total_attendance_days, 4) AS attendance_rate,
        coalesce(total_attendance_days >= 10
            AND absent_days * 100 >= total_attendance_days * 10, false) AS is_chronically_absent,
        coalesce(total_assessments, 0) AS total_assessments, avg_score, min_score, max_score
    FROM silver.dim_student
        LEFT JOIN attendance USING (student_id) LEFT JOIN assessments USING (student_id)
    ORDER BY student_id;
"""


def main(landing: str, output: str) -> None:
    """Build `warehouse.duckdb` in the output folder from the files of the landing folder."""
    with duckdb.connect(f"{output}/warehouse.duckdb") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE SCHEMA bronze; CREATE SCHEMA silver; CREATE SCHEMA gold;")
        connection.execute(BRONZE.format(landing=landing))
        connection.execute(SILVER)
        connection.execute(GOLD)


if __name__ == "__main__":
    main(*sys.argv[1:])
