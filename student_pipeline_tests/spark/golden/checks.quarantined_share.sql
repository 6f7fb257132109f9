/* Reasons for which more than the given share of a source's rows is quarantined. */
WITH refused AS (
  SELECT
    reason,
    COUNT(*) AS refused_rows
  FROM quarantine.attendance
  GROUP BY
    reason
), everything AS (
  SELECT
    (
      SELECT
        COUNT(*)
      FROM silver.fact_attend
    ) + (
      SELECT
        COUNT(*)
      FROM quarantine.attendance
    ) AS all_rows
)
SELECT
  refused.reason || ': ' || CAST(refused.refused_rows AS STRING) || ' of ' || CAST(everything.all_rows AS STRING) || ' rows' AS key
FROM refused
CROSS JOIN everything
WHERE
  refused.refused_rows > everything.all_rows * 0.05
