-- Fact ids that were delivered for different students; only ids that came more than once are looked at.
with delivered as (
    select clean($id) as id from $bronze
),

repeated as (
    select id from delivered
    group by id
    having count(*) > 1
)

select clean(record.$id) as key
from $bronze as record
where clean(record.$id) in (select repeated.id from repeated)
group by clean(record.$id)
having min(clean(record.student_id)) <> max(clean(record.student_id))
