/* Class-days on which more students have attendance than the class has active students. */
SELECT
  class_id || ' on ' || CAST(date AS STRING) AS key
FROM gold.class_daily_performance
WHERE
  students_with_attendance > total_students
