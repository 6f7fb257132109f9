/* Attendance records whose is_present does not follow from the status. */
SELECT
  attend_id AS key
FROM silver.fact_attend
WHERE
  is_present <> (
    status IN ('PRESENT', 'LATE')
  )
