/* Every date with a class-day, whether anybody's attendance was recorded, and how many classes. */
SELECT
  date,
  MAX(students_with_attendance) > 0 AS has_attendance,
  MAX(assessment_count) > 0 AS has_assessments,
  COUNT(*) AS classes
FROM gold.class_daily_performance
GROUP BY
  date
ORDER BY
  date NULLS LAST
