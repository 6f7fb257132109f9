-- Class-days on which more students have attendance than the class has active students.
select class_id || ' on ' || cast(date as varchar) as key
from $class_daily_performance
where students_with_attendance > total_students
