/* Student-days without exactly one record that counts. */
SELECT
  student_id || ' on ' || CAST(attend_date AS STRING) AS key
FROM silver.fact_attend
GROUP BY
  student_id,
  attend_date
HAVING
  COUNT_IF(counts_for_day) <> 1
