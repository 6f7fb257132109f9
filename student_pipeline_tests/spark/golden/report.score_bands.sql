/* Assessments, and the students who sat them, by subject and tens of percent; 50 is all below 50, */
/* 100 is 90 to 100. */
WITH banded AS (
  SELECT
    subject,
    student_id,
    CASE
      WHEN score_pct < 50
      THEN 50
      WHEN score_pct < 60
      THEN 60
      WHEN score_pct < 70
      THEN 70
      WHEN score_pct < 80
      THEN 80
      WHEN score_pct < 90
      THEN 90
      ELSE 100
    END AS band
  FROM silver.fact_assess
  WHERE
    assess_date >= CAST('2025-09-01' AS DATE)
)
SELECT
  subject,
  band,
  COUNT(*) AS assessments,
  COUNT(DISTINCT student_id) AS students
FROM banded
GROUP BY
  subject,
  band
ORDER BY
  subject NULLS LAST,
  band NULLS LAST
