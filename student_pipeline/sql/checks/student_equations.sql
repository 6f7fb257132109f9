-- Students whose counts and rates don't agree with each other.
select student_id as key
from $student_performance_summary
where
    present_days + absent_days <> total_attendance_days
    or late_days > present_days
    or excused_days > absent_days
    or attendance_rate is distinct from share(present_days, total_attendance_days)
    or is_chronically_absent <> (
        total_attendance_days >= $min_days and absent_days * 100 >= total_attendance_days * $chronic_percent
    )
    or (avg_score is null) <> (total_assessments = 0)
    or min_score > avg_score
    or avg_score > max_score
