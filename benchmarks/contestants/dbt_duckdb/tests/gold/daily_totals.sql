with gold as (
    select
        sum(present_count) as present,
        sum(absent_count) as absent,
        sum(assessment_count) as assessments
    from {{ ref('class_daily_performance') }}
),

attendance as (
    select
        count(*) filter (is_present) as present,
        count(*) filter (not is_present) as absent
    from {{ ref('fact_attend') }}
    where counts_for_day
),

assessments as (
    select count(*) as assessments from {{ ref('fact_assess') }}
)

select *
from gold
cross join attendance
cross join assessments
where (gold.present, gold.absent, gold.assessments)
    is distinct from (attendance.present, attendance.absent, assessments.assessments)
