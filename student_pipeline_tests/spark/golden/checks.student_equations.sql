/* Students whose counts and rates don't agree with each other. */
SELECT
  student_id AS key
FROM gold.student_performance_summary
WHERE
  present_days + absent_days <> total_attendance_days
  OR late_days > present_days
  OR excused_days > absent_days
  OR attendance_rate IS DISTINCT FROM (
    FLOOR(10000 * CAST(present_days AS DOUBLE) / NULLIF(CAST(total_attendance_days AS DOUBLE), 0) + 0.5) / 10000
  )
  OR is_chronically_absent <> (
    total_attendance_days >= 10 AND absent_days * 100 >= total_attendance_days * 10
  )
  OR (
    avg_score IS NULL
  ) <> (
    total_assessments = 0
  )
  OR min_score > avg_score
  OR avg_score > max_score
