-- Records in the quarantine by source and reason.
select
    'students' as source,
    reason,
    count(*) as records
from quarantine.students
group by reason
union all
select
    'attendance' as source,
    reason,
    count(*) as records
from quarantine.attendance
group by reason
union all
select
    'assessments' as source,
    reason,
    count(*) as records
from quarantine.assessments
group by reason
order by records desc, source asc, reason asc
