/* Sums over all students that are not what silver holds. */
WITH gold AS (
  SELECT
    COALESCE(CAST(SUM(present_days) AS BIGINT), 0) AS present,
    COALESCE(CAST(SUM(absent_days) AS BIGINT), 0) AS absent,
    COALESCE(CAST(SUM(total_assessments) AS BIGINT), 0) AS assessments
  FROM gold.student_performance_summary
), attendance AS (
  SELECT
    COUNT_IF(is_present) AS present,
    COUNT_IF(NOT is_present) AS absent
  FROM silver.fact_attend
  WHERE
    counts_for_day
), assessments AS (
  SELECT
    COUNT(*) AS assessments
  FROM silver.fact_assess
)
SELECT
  'gold counts ' || CAST(gold.present AS STRING) || ' days present, ' || CAST(gold.absent AS STRING) || ' absent, ' || CAST(gold.assessments AS STRING) || ' assessments; silver ' || CAST(attendance.present AS STRING) || ', ' || CAST(attendance.absent AS STRING) || ', ' || CAST(assessments.assessments AS STRING) AS key
FROM gold
CROSS JOIN attendance
CROSS JOIN assessments
WHERE
  gold.present <> attendance.present
  OR gold.absent <> attendance.absent
  OR gold.assessments <> assessments.assessments
