-- Classes and dates with a counted record or an assessment that have no row, and rows without either.
with expected as (
    select
        class_id,
        attend_date as date
    from $fact_attend
    where counts_for_day
    union distinct
    select
        class_id,
        assess_date as date
    from $fact_assess
)

select
    coalesce(expected.class_id, gold.class_id) || ' on '
    || cast(coalesce(expected.date, gold.date) as varchar) as key
from expected
full outer join $class_daily_performance as gold
    on expected.class_id = gold.class_id and expected.date = gold.date
where expected.class_id is null or gold.class_id is null
