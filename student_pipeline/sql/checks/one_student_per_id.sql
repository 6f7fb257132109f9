-- Fact ids that were delivered for different students.
select clean($id) as key
from $bronze
where clean($id) is not null
group by clean($id)
having min(clean(student_id)) <> max(clean(student_id))
