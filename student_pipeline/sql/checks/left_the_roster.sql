-- Students who are not in the roster file that was loaded last.
select distinct clean(student_id) as key
from $students
where
    clean(student_id) is not null
    and clean(student_id) not in (select student_id from ops.latest_roster)
