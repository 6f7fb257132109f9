-- One row for every student: counted days, chronic absence, scores.
with attendance as (
    select
        student_id,
        count(*) as total_attendance_days,
        count_if(is_present) as present_days,
        count_if(not is_present) as absent_days,
        count_if(status = 'LATE') as late_days,
        count_if(status = 'EXCUSED') as excused_days
    from $fact_attend
    where counts_for_day
    group by student_id
),

assessments as (
    select
        student_id,
        count(*) as total_assessments,
        cast(sum(hundredths(score_pct)) as bigint) as total_hundredths,
        min(score_pct) as min_score,
        max(score_pct) as max_score
    from $fact_assess
    group by student_id
)

select
    student.student_id,
    student.class_id,
    student.is_active,
    coalesce(attendance.total_attendance_days, 0) as total_attendance_days,
    coalesce(attendance.present_days, 0) as present_days,
    coalesce(attendance.absent_days, 0) as absent_days,
    coalesce(attendance.late_days, 0) as late_days,
    coalesce(attendance.excused_days, 0) as excused_days,
    share(attendance.present_days, attendance.total_attendance_days) as attendance_rate,
    -- Whole numbers are compared, never a rounded rate; the threshold itself is chronic.
    coalesce(
        attendance.total_attendance_days >= $min_days
        and attendance.absent_days * 100 >= attendance.total_attendance_days * $chronic_percent,
        false
    ) as is_chronically_absent,
    coalesce(assessments.total_assessments, 0) as total_assessments,
    mean_of_hundredths(assessments.total_hundredths, assessments.total_assessments) as avg_score,
    assessments.min_score,
    assessments.max_score
from $dim_student as student
left join attendance on student.student_id = attendance.student_id
left join assessments on student.student_id = assessments.student_id
