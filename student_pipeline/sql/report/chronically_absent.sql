-- The chronically absent students, the most days absent first. Read only where a rule allows it.
select
    summary.student_id,
    student.student_name,
    summary.class_id,
    summary.absent_days,
    summary.total_attendance_days,
    summary.avg_score
from $student_performance_summary as summary
inner join $dim_student as student on summary.student_id = student.student_id
where summary.is_chronically_absent and summary.is_active
order by summary.absent_days desc, summary.student_id asc
