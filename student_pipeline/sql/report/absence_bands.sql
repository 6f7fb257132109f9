-- Students by the share of recorded days on which they were absent, in whole numbers: the bands end
-- at half of the chronic percentage, at it, and at twice of it; the threshold itself is in the band
-- above it. Band 0 has too few recorded days.
with banded as (
    select
        student_id,
        case
            when total_attendance_days < $min_days then 0
            when absent_days * 200 < total_attendance_days * $chronic_percent then 1
            when absent_days * 100 < total_attendance_days * $chronic_percent then 2
            when absent_days * 50 < total_attendance_days * $chronic_percent then 3
            else 4
        end as band
    from $student_performance_summary
)

select
    band,
    count(*) as students
from banded
group by band
order by band
