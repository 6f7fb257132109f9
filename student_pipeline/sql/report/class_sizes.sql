-- Active students of each class.
select
    class_id,
    count(*) as students
from $student_performance_summary
where is_active
group by class_id
order by class_id
