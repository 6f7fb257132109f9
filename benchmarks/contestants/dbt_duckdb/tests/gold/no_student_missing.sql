select *
from {{ ref('dim_student') }} as student
full join {{ ref('student_performance_summary') }} as gold on student.student_id = gold.student_id
where
    student.student_id is null
    or gold.student_id is null
    or gold.class_id <> student.class_id
    or gold.is_active <> student.is_active
