/* One row for every student: counted days, chronic absence, scores. */
WITH attendance AS (
  SELECT
    student_id,
    COUNT(*) AS total_attendance_days,
    COUNT_IF(is_present) AS present_days,
    COUNT_IF(NOT is_present) AS absent_days,
    COUNT_IF(status = 'LATE') AS late_days,
    COUNT_IF(status = 'EXCUSED') AS excused_days
  FROM silver.fact_attend
  WHERE
    counts_for_day
  GROUP BY
    student_id
), assessments AS (
  SELECT
    student_id,
    COUNT(*) AS total_assessments,
    CAST(SUM(CAST(FLOOR(score_pct * 100 + 0.5) AS BIGINT)) AS BIGINT) AS total_hundredths,
    MIN(score_pct) AS min_score,
    MAX(score_pct) AS max_score
  FROM silver.fact_assess
  GROUP BY
    student_id
)
SELECT
  student.student_id,
  student.class_id,
  student.is_active,
  COALESCE(attendance.total_attendance_days, 0) AS total_attendance_days,
  COALESCE(attendance.present_days, 0) AS present_days,
  COALESCE(attendance.absent_days, 0) AS absent_days,
  COALESCE(attendance.late_days, 0) AS late_days,
  COALESCE(attendance.excused_days, 0) AS excused_days,
  (
    FLOOR(
      10000 * CAST(attendance.present_days AS DOUBLE) / NULLIF(CAST(attendance.total_attendance_days AS DOUBLE), 0) + 0.5
    ) / 10000
  ) AS attendance_rate,
  COALESCE(
    attendance.total_attendance_days >= 10
    AND attendance.absent_days * 100 >= attendance.total_attendance_days * 10,
    FALSE
  ) AS is_chronically_absent, /* Whole numbers are compared, never a rounded rate; the threshold itself is chronic. */
  COALESCE(assessments.total_assessments, 0) AS total_assessments,
  (
    FLOOR(
      CAST(assessments.total_hundredths AS DOUBLE) / NULLIF(CAST(assessments.total_assessments AS DOUBLE), 0) + 0.5
    ) / 100
  ) AS avg_score,
  assessments.min_score,
  assessments.max_score
FROM silver.dim_student AS student
LEFT JOIN attendance
  ON student.student_id = attendance.student_id
LEFT JOIN assessments
  ON student.student_id = assessments.student_id
