{% test one_student_per_id(model, id) %}
select {{ text(id) }}
from {{ model }}
group by all
having count(distinct {{ text('student_id') }}) > 1
{% endtest %}
