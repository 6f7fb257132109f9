-- One row per class and date with a counted attendance record or an assessment.
with classes as (
    select class_id, count(*) as total_students
    from {{ ref('dim_student') }}
    where is_active
    group by all
),

attendance as (
    select
        class_id,
        attend_date as date,
        count(*) as students_with_attendance,
        count(*) filter (is_present) as present_count,
        count(*) filter (not is_present) as absent_count
    from {{ ref('fact_attend') }}
    where counts_for_day
    group by all
),

assessments as (
    select
        class_id,
        assess_date as date,
        count(distinct student_id) as students_with_assessment,
        count(*) as assessment_count,
        round(avg(score_pct), 2) as avg_score
    from {{ ref('fact_assess') }}
    group by all
)

select
    class_id,
    date,
    coalesce(total_students, 0) as total_students,
    coalesce(students_with_attendance, 0) as students_with_attendance,
    coalesce(present_count, 0) as present_count,
    coalesce(absent_count, 0) as absent_count,
    {{ share('present_count', 'students_with_attendance') }} as attendance_rate,
    coalesce(students_with_assessment, 0) as students_with_assessment,
    coalesce(assessment_count, 0) as assessment_count,
    avg_score,
    {{ share('coalesce(students_with_attendance, 0)', 'total_students') }} as attendance_coverage
from attendance
full join assessments using (class_id, date)
left join classes using (class_id)
order by class_id, date
