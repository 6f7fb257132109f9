/* Active students of each class. */
SELECT
  class_id,
  COUNT(*) AS students
FROM gold.student_performance_summary
WHERE
  is_active
GROUP BY
  class_id
ORDER BY
  class_id NULLS LAST
