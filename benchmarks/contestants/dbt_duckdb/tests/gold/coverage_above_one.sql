{{ config(severity='warn') }}
select class_id, date
from {{ ref('class_daily_performance') }}
where students_with_attendance > total_students
