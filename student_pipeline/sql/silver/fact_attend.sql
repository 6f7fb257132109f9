-- One row per attendance record: its latest version, typed, judged, with the student's class.
-- A date, or a status, is written the same way in very many rows: each way is read once, then looked up.
with dates as (
    select
        date,
        clean(date) as cleaned
    from $attendance
    group by date
),

days as (
    select
        date,
        calendar_date(cleaned) as attend_date
    from dates
),

words as (
    select
        status,
        clean(status) as cleaned
    from $attendance
    group by status
),

statuses as (
    select
        words.status,
        vocabulary.meaning
    from words
    inner join $statuses as vocabulary on upper_case(words.cleaned) = vocabulary.word
),

cleaned as (
    select
        _load_id,
        _source_row,
        _ingested_at,
        clean(attend_id) as attend_id,
        clean(student_id) as student_id,
        date,
        status,
        clean(created_at) as created_at
    from $attendance
),

typed as (
    select
        cleaned._load_id,
        cleaned._source_row,
        cleaned._ingested_at,
        cleaned.attend_id,
        cleaned.student_id,
        days.attend_date,
        statuses.meaning as status,
        instant(cleaned.created_at) as created_at
    from cleaned
    left join days on cleaned.date = days.date
    left join statuses on cleaned.status = statuses.status
),

versions as (
    select
        *,
        row_number() over (
            partition by attend_id
            order by created_at desc nulls last, _load_id desc, _source_row desc
        ) as version
    from typed
),

-- A row without an id is nobody's older version.
latest as (
    select * from versions
    where version = 1 or attend_id is null
),

judged as (
    select
        latest.*,
        student.class_id,
        case
            when latest.attend_id is null then 'missing_id'
            when latest.student_id is null then 'missing_student_id'
            when student.student_id is null then 'unknown_student'
            when latest.attend_date is null then 'invalid_date'
            when
                latest.attend_date < cast('$earliest_date' as date)
                or date_diff('day', cast(latest._ingested_at as date), latest.attend_date) > 1
                then 'date_out_of_range'
            when latest.status is null then 'unknown_status'
        end as reason
    from latest
    left join $dim_student as student on latest.student_id = student.student_id
),

-- The record that counts for its student and day: the latest, then a present one, then the greatest id.
-- That is the first of its day in this order. (It is a window over students, not over student-days, so
-- that a student's rows lie side by side in the table: finding them again takes few reads.)
counted as (
    select
        *,
        status in ($present_statuses) as is_present,
        lag(attend_date) over (
            partition by student_id, reason is null
            order by
                attend_date asc,
                created_at desc nulls last,
                case when status in ($present_statuses) then 0 else 1 end,
                attend_id desc
        ) as date_before
    from judged
)

select
    attend_id,
    student_id,
    class_id,
    attend_date,
    status,
    is_present,
    coalesce(date_before <> attend_date, true) as counts_for_day,
    created_at,
    _load_id,
    _source_row,
    id_hash(attend_id) as _id_hash,
    reason
from counted
