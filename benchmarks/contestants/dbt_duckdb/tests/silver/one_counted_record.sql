select student_id, attend_date
from {{ ref('fact_attend') }}
group by all
having count(*) filter (counts_for_day) <> 1
