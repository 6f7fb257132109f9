/* Class-days whose counts and rates don't agree with each other. */
SELECT
  class_id || ' on ' || CAST(date AS STRING) AS key
FROM gold.class_daily_performance
WHERE
  present_count + absent_count <> students_with_attendance
  OR attendance_rate IS DISTINCT FROM (
    FLOOR(10000 * CAST(present_count AS DOUBLE) / NULLIF(CAST(students_with_attendance AS DOUBLE), 0) + 0.5) / 10000
  )
  OR attendance_coverage IS DISTINCT FROM (
    FLOOR(10000 * CAST(students_with_attendance AS DOUBLE) / NULLIF(CAST(total_students AS DOUBLE), 0) + 0.5) / 10000
  )
  OR students_with_assessment > assessment_count
  OR (
    students_with_assessment = 0
  ) <> (
    assessment_count = 0
  )
  OR (
    avg_score IS NULL
  ) <> (
    assessment_count = 0
  )
  OR students_with_attendance + assessment_count = 0
