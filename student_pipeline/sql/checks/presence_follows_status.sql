-- Attendance records whose is_present does not follow from the status.
select attend_id as key
from $fact_attend
where is_present <> (status in ($present_statuses))
