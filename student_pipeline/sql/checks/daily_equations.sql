-- Class-days whose counts and rates don't agree with each other.
select class_id || ' on ' || cast(date as varchar) as key
from $class_daily_performance
where
    present_count + absent_count <> students_with_attendance
    or attendance_rate is distinct from share(present_count, students_with_attendance)
    or attendance_coverage is distinct from share(students_with_attendance, total_students)
    or students_with_assessment > assessment_count
    or (students_with_assessment = 0) <> (assessment_count = 0)
    or (avg_score is null) <> (assessment_count = 0)
    or students_with_attendance + assessment_count = 0
