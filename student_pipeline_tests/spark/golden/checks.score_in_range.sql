/* Assessments whose score is not within 0 and the maximum, or whose percentage is another number. */
SELECT
  assess_id AS key
FROM silver.fact_assess
WHERE
  NOT (
    max_score > 0 AND score >= 0 AND score <= max_score
  )
  OR score_pct IS DISTINCT FROM (
    (
      FLOOR(
        CASE
          WHEN score <= 1e300
          THEN 100 * score / NULLIF(max_score, 0)
          ELSE 100 * (
            score / NULLIF(max_score, 0)
          )
        END * 100 + 0.5
      ) / 100
    )
  )
