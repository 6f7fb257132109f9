-- One row per class and date with a counted attendance record or an assessment.
with classes as (
    select
        class_id,
        count(*) as total_students
    from $dim_student
    where is_active
    group by class_id
),

attendance as (
    select
        class_id,
        attend_date as date,
        count(*) as students_with_attendance,
        count_if(is_present) as present_count,
        count_if(not is_present) as absent_count
    from $fact_attend
    where counts_for_day
    group by class_id, attend_date
),

assessments as (
    select
        class_id,
        assess_date as date,
        count(distinct student_id) as students_with_assessment,
        count(*) as assessment_count,
        cast(sum(hundredths(score_pct)) as bigint) as total_hundredths
    from $fact_assess
    group by class_id, assess_date
),

days as (
    select
        class_id,
        date
    from attendance
    union distinct
    select
        class_id,
        date
    from assessments
)

select
    days.class_id,
    days.date,
    coalesce(classes.total_students, 0) as total_students,
    coalesce(attendance.students_with_attendance, 0) as students_with_attendance,
    coalesce(attendance.present_count, 0) as present_count,
    coalesce(attendance.absent_count, 0) as absent_count,
    share(attendance.present_count, attendance.students_with_attendance) as attendance_rate,
    coalesce(assessments.students_with_assessment, 0) as students_with_assessment,
    coalesce(assessments.assessment_count, 0) as assessment_count,
    mean_of_hundredths(assessments.total_hundredths, assessments.assessment_count) as avg_score,
    share(coalesce(attendance.students_with_attendance, 0), classes.total_students) as attendance_coverage
from days
left join classes on days.class_id = classes.class_id
left join attendance on days.class_id = attendance.class_id and days.date = attendance.date
left join assessments on days.class_id = assessments.class_id and days.date = assessments.date
