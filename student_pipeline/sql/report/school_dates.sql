-- Every date with a class-day, whether anybody's attendance was recorded, and how many classes.
select
    date,
    max(students_with_attendance) > 0 as has_attendance,
    max(assessment_count) > 0 as has_assessments,
    count(*) as classes
from $class_daily_performance
group by date
order by date
