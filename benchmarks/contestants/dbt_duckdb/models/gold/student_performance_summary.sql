-- One row for every student: counted days, chronic absence, scores.
with attendance as (
    select
        student_id,
        count(*) as total_attendance_days,
        count(*) filter (is_present) as present_days,
        count(*) filter (not is_present) as absent_days,
        count(*) filter (status = 'LATE') as late_days,
        count(*) filter (status = 'EXCUSED') as excused_days
    from {{ ref('fact_attend') }}
    where counts_for_day
    group by all
),

assessments as (
    select
        student_id,
        count(*) as total_assessments,
        round(avg(score_pct), 2) as avg_score,
        min(score_pct) as min_score,
        max(score_pct) as max_score
    from {{ ref('fact_assess') }}
    group by all
)

select
    student_id,
    class_id,
    is_active,
    coalesce(total_attendance_days, 0) as total_attendance_days,
    coalesce(present_days, 0) as present_days,
    coalesce(absent_days, 0) as absent_days,
    coalesce(late_days, 0) as late_days,
    coalesce(excused_days, 0) as excused_days,
    {{ share('present_days', 'total_attendance_days') }} as attendance_rate,
    coalesce(total_attendance_days >= 10 and absent_days * 100 >= total_attendance_days * 10, false)
        as is_chronically_absent,
    coalesce(total_assessments, 0) as total_assessments,
    avg_score,
    min_score,
    max_score
from {{ ref('dim_student') }}
left join attendance using (student_id)
left join assessments using (student_id)
order by student_id
