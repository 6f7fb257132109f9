-- Sums of each class and period (a day, week or month) from the class-days of gold. `students` and
-- `assessed` are the most on one day: at least so many different students the sums are about.
select
    daily.class_id,
    period.period,
    cast(sum(daily.present_count) as bigint) as present,
    cast(sum(daily.students_with_attendance) as bigint) as recorded,
    max(daily.students_with_attendance) as students,
    cast(sum(daily.assessment_count) as bigint) as assessments,
    cast(sum(hundredths(daily.avg_score) * daily.assessment_count) as bigint) as score_hundredths,
    max(daily.students_with_assessment) as assessed
from $class_daily_performance as daily
inner join $periods as period on daily.date = period.date
group by daily.class_id, period.period
order by daily.class_id, period.period
