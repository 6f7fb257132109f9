/* Students by the share of recorded days on which they were absent, in whole numbers: the bands end */
/* at half of the chronic percentage, at it, and at twice of it; the threshold itself is in the band */
/* above it. Band 0 has too few recorded days. */
WITH banded AS (
  SELECT
    student_id,
    CASE
      WHEN total_attendance_days < 10
      THEN 0
      WHEN absent_days * 200 < total_attendance_days * 10
      THEN 1
      WHEN absent_days * 100 < total_attendance_days * 10
      THEN 2
      WHEN absent_days * 50 < total_attendance_days * 10
      THEN 3
      ELSE 4
    END AS band
  FROM gold.student_performance_summary
)
SELECT
  band,
  COUNT(*) AS students
FROM banded
GROUP BY
  band
ORDER BY
  band NULLS LAST
