-- Fact ids that were delivered for different students; only ids that came more than once are looked at.
with repeated as (
    select clean($id) as id from $bronze
    where clean($id) is not null
    group by clean($id)
    having count(*) > 1
)

select repeated.id as key
from $bronze as record
inner join repeated on clean(record.$id) = repeated.id
group by repeated.id
having min(clean(record.student_id)) <> max(clean(record.student_id))
