/* Classes and dates with a counted record or an assessment that have no row, and rows without either. */
WITH expected AS (
  SELECT
    class_id,
    attend_date AS date
  FROM silver.fact_attend
  WHERE
    counts_for_day
  UNION
  SELECT
    class_id,
    assess_date AS date
  FROM silver.fact_assess
)
SELECT
  COALESCE(expected.class_id, gold.class_id) || ' on ' || CAST(COALESCE(expected.date, gold.date) AS STRING) AS key
FROM expected
FULL OUTER JOIN gold.class_daily_performance AS gold
  ON expected.class_id = gold.class_id AND expected.date = gold.date
WHERE
  expected.class_id IS NULL OR gold.class_id IS NULL
