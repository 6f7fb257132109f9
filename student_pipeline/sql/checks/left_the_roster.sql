-- Students who are not in the roster file that was loaded last.
select distinct clean(student.student_id) as key
from $students as student
where
    clean(student.student_id) is not null
    and clean(student.student_id) not in (select roster.student_id from ops.latest_roster as roster)
