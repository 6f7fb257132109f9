/* Records in the quarantine by source and reason. */
SELECT
  'students' AS source,
  reason,
  COUNT(*) AS records
FROM quarantine.students
GROUP BY
  reason
UNION ALL
SELECT
  'attendance' AS source,
  reason,
  COUNT(*) AS records
FROM quarantine.attendance
GROUP BY
  reason
UNION ALL
SELECT
  'assessments' AS source,
  reason,
  COUNT(*) AS records
FROM quarantine.assessments
GROUP BY
  reason
ORDER BY
  records DESC,
  source ASC NULLS LAST,
  reason ASC NULLS LAST
