-- The middle half of the scores of each class, and of each class and subject, where at least
-- $min_group students were assessed.
select
    class_id,
    subject,
    percentile_disc(0.25) within group (order by score_pct) as lower_quartile,
    percentile_disc(0.5) within group (order by score_pct) as median,
    percentile_disc(0.75) within group (order by score_pct) as upper_quartile
from $fact_assess
where assess_date >= cast('$since' as date)
group by grouping sets ((class_id), (class_id, subject))
having count(distinct student_id) >= $min_group
order by class_id, subject
