/* Students of the dimension without a summary, and summaries without a student. */
SELECT
  COALESCE(student.student_id, gold.student_id) AS key
FROM silver.dim_student AS student
FULL OUTER JOIN gold.student_performance_summary AS gold
  ON student.student_id = gold.student_id
WHERE
  student.student_id IS NULL
  OR gold.student_id IS NULL
  OR gold.class_id <> student.class_id
  OR gold.is_active <> student.is_active
