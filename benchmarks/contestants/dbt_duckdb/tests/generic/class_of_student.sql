{% test class_of_student(model) %}
select fact.*
from {{ model }} as fact
inner join {{ ref('dim_student') }} as student on fact.student_id = student.student_id
where fact.class_id <> student.class_id
{% endtest %}
