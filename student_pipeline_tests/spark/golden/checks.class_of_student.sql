/* Facts whose class is not the class of their student. */
SELECT
  fact.attend_id AS key
FROM silver.fact_attend AS fact
INNER JOIN silver.dim_student AS student
  ON fact.student_id = student.student_id
WHERE
  fact.class_id <> student.class_id
