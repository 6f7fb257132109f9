-- Assessments, and the students who sat them, by subject and tens of percent; 50 is all below 50,
-- 100 is 90 to 100.
with banded as (
    select
        subject,
        student_id,
        case
            when score_pct < 50 then 50
            when score_pct < 60 then 60
            when score_pct < 70 then 70
            when score_pct < 80 then 80
            when score_pct < 90 then 90
            else 100
        end as band
    from $fact_assess
    where assess_date >= cast('$since' as date)
)

select
    subject,
    band,
    count(*) as assessments,
    count(distinct student_id) as students
from banded
group by subject, band
order by subject, band
