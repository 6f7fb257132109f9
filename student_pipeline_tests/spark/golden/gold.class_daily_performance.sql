/* One row per class and date with a counted attendance record or an assessment. */
WITH classes AS (
  SELECT
    class_id,
    COUNT(*) AS total_students
  FROM silver.dim_student
  WHERE
    is_active
  GROUP BY
    class_id
), attendance AS (
  SELECT
    class_id,
    attend_date AS date,
    COUNT(*) AS students_with_attendance,
    COUNT_IF(is_present) AS present_count,
    COUNT_IF(NOT is_present) AS absent_count
  FROM silver.fact_attend
  WHERE
    counts_for_day
  GROUP BY
    class_id,
    attend_date
), assessments AS (
  SELECT
    class_id,
    assess_date AS date,
    COUNT(DISTINCT student_id) AS students_with_assessment,
    COUNT(*) AS assessment_count,
    CAST(SUM(CAST(FLOOR(score_pct * 100 + 0.5) AS BIGINT)) AS BIGINT) AS total_hundredths
  FROM silver.fact_assess
  GROUP BY
    class_id,
    assess_date
), days AS (
  SELECT
    class_id,
    date
  FROM attendance
  UNION
  SELECT
    class_id,
    date
  FROM assessments
)
SELECT
  days.class_id,
  days.date,
  COALESCE(classes.total_students, 0) AS total_students,
  COALESCE(attendance.students_with_attendance, 0) AS students_with_attendance,
  COALESCE(attendance.present_count, 0) AS present_count,
  COALESCE(attendance.absent_count, 0) AS absent_count,
  (
    FLOOR(
      10000 * CAST(attendance.present_count AS DOUBLE) / NULLIF(CAST(attendance.students_with_attendance AS DOUBLE), 0) + 0.5
    ) / 10000
  ) AS attendance_rate,
  COALESCE(assessments.students_with_assessment, 0) AS students_with_assessment,
  COALESCE(assessments.assessment_count, 0) AS assessment_count,
  (
    FLOOR(
      CAST(assessments.total_hundredths AS DOUBLE) / NULLIF(CAST(assessments.assessment_count AS DOUBLE), 0) + 0.5
    ) / 100
  ) AS avg_score,
  (
    FLOOR(
      10000 * CAST(COALESCE(attendance.students_with_attendance, 0) AS DOUBLE) / NULLIF(CAST(classes.total_students AS DOUBLE), 0) + 0.5
    ) / 10000
  ) AS attendance_coverage
FROM days
LEFT JOIN classes
  ON days.class_id = classes.class_id
LEFT JOIN attendance
  ON days.class_id = attendance.class_id AND days.date = attendance.date
LEFT JOIN assessments
  ON days.class_id = assessments.class_id AND days.date = assessments.date
