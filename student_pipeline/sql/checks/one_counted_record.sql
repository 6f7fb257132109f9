-- Student-days without exactly one record that counts.
select student_id || ' on ' || cast(attend_date as varchar) as key
from $fact_attend
group by student_id, attend_date
having count_if(counts_for_day) <> 1
