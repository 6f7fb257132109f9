/* The middle half of the scores of each class (with an empty subject), and of each class and */
/* subject, where at least 10 students were assessed. Quartiles are scores that occur: the */
/* first one that a quarter, a half, three quarters of the scores don't exceed. */
WITH groups AS (
  SELECT
    class_id,
    '' AS subject,
    student_id,
    score_pct
  FROM silver.fact_assess
  WHERE
    assess_date >= CAST('2025-09-01' AS DATE)
  UNION ALL
  SELECT
    class_id,
    subject,
    student_id,
    score_pct
  FROM silver.fact_assess
  WHERE
    assess_date >= CAST('2025-09-01' AS DATE)
), ranked AS (
  SELECT
    class_id,
    subject,
    student_id,
    score_pct,
    ROW_NUMBER() OVER (PARTITION BY class_id, subject ORDER BY score_pct ASC NULLS LAST) AS place,
    COUNT(*) OVER (PARTITION BY class_id, subject) AS scores
  FROM groups
)
SELECT
  class_id,
  subject,
  MIN(CASE WHEN place * 4 >= scores THEN score_pct END) AS lower_quartile,
  MIN(CASE WHEN place * 2 >= scores THEN score_pct END) AS median,
  MIN(CASE WHEN place * 4 >= scores * 3 THEN score_pct END) AS upper_quartile
FROM ranked
GROUP BY
  class_id,
  subject
HAVING
  COUNT(DISTINCT student_id) >= 10
ORDER BY
  class_id ASC NULLS LAST,
  subject ASC NULLS LAST
