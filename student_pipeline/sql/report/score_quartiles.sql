-- The middle half of the scores of each class (with an empty subject), and of each class and
-- subject, where at least $min_group students were assessed. Quartiles are scores that occur: the
-- first one that a quarter, a half, three quarters of the scores don't exceed.
with groups as (
    select
        class_id,
        '' as subject,
        student_id,
        score_pct
    from $fact_assess
    where assess_date >= cast('$since' as date)
    union all
    select
        class_id,
        subject,
        student_id,
        score_pct
    from $fact_assess
    where assess_date >= cast('$since' as date)
),

ranked as (
    select
        class_id,
        subject,
        student_id,
        score_pct,
        row_number() over (partition by class_id, subject order by score_pct asc) as place,
        count(*) over (partition by class_id, subject) as scores
    from groups
)

select
    class_id,
    subject,
    min(case when place * 4 >= scores then score_pct end) as lower_quartile,
    min(case when place * 2 >= scores then score_pct end) as median,
    min(case when place * 4 >= scores * 3 then score_pct end) as upper_quartile
from ranked
group by class_id, subject
having count(distinct student_id) >= $min_group
order by class_id asc, subject asc
