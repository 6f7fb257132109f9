with expected as (
    select class_id, attend_date as date from {{ ref('fact_attend') }} where counts_for_day
    union
    select class_id, assess_date from {{ ref('fact_assess') }}
)

select *
from expected
full join {{ ref('class_daily_performance') }} as gold
    on expected.class_id = gold.class_id and expected.date = gold.date
where expected.class_id is null or gold.class_id is null
