-- Sums over all class-days that are not what silver holds.
with gold as (
    select
        coalesce(cast(sum(present_count) as bigint), 0) as present,
        coalesce(cast(sum(absent_count) as bigint), 0) as absent,
        coalesce(cast(sum(assessment_count) as bigint), 0) as assessments
    from $class_daily_performance
),

attendance as (
    select
        count_if(is_present) as present,
        count_if(not is_present) as absent
    from $fact_attend
    where counts_for_day
),

assessments as (
    select count(*) as assessments from $fact_assess
)

select
    'gold counts ' || cast(gold.present as varchar) || ' present, ' || cast(gold.absent as varchar)
    || ' absent, ' || cast(gold.assessments as varchar) || ' assessments; silver '
    || cast(attendance.present as varchar) || ', ' || cast(attendance.absent as varchar)
    || ', ' || cast(assessments.assessments as varchar) as key
from gold
cross join attendance
cross join assessments
where
    gold.present <> attendance.present
    or gold.absent <> attendance.absent
    or gold.assessments <> assessments.assessments
