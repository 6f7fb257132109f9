{{ config(severity='warn') }}
select max(attend_date) as newest
from {{ ref('fact_attend') }}
having newest < current_date - 7
