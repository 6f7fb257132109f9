/* Sums of each class and period (a day, week or month) from the class-days of gold. `students` and */
/* `assessed` are the most on one day: at least so many different students the sums are about. */
SELECT
  daily.class_id,
  period.period,
  CAST(SUM(daily.present_count) AS BIGINT) AS present,
  CAST(SUM(daily.students_with_attendance) AS BIGINT) AS recorded,
  MAX(daily.students_with_attendance) AS students,
  CAST(SUM(daily.assessment_count) AS BIGINT) AS assessments,
  CAST(SUM(CAST(FLOOR(daily.avg_score * 100 + 0.5) AS BIGINT) * daily.assessment_count) AS BIGINT) AS score_hundredths,
  MAX(daily.students_with_assessment) AS assessed
FROM gold.class_daily_performance AS daily
INNER JOIN (
  SELECT
    *
  FROM VALUES
    (CAST('2025-09-01' AS DATE), 0) AS v(date, period)
) AS period
  ON daily.date = period.date
GROUP BY
  daily.class_id,
  period.period
ORDER BY
  daily.class_id NULLS LAST,
  period.period NULLS LAST
