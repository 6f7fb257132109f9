/* The chronically absent students, the most days absent first. Read only where a rule allows it. */
SELECT
  summary.student_id,
  student.student_name,
  summary.class_id,
  summary.absent_days,
  summary.total_attendance_days,
  summary.avg_score
FROM gold.student_performance_summary AS summary
INNER JOIN silver.dim_student AS student
  ON summary.student_id = student.student_id
WHERE
  summary.is_chronically_absent AND summary.is_active
ORDER BY
  summary.absent_days DESC,
  summary.student_id ASC NULLS LAST
