-- Facts whose class is not the class of their student.
select fact.$id as key
from $fact as fact
inner join $dim_student as student on fact.student_id = student.student_id
where fact.class_id <> student.class_id
