-- One row per attendance record: its latest version, typed, judged, with the student's class.
with cleaned as (
    select
        _load_id,
        _source_row,
        _ingested_at,
        clean(attend_id) as attend_id,
        clean(student_id) as student_id,
        clean(date) as date,
        clean(status) as status,
        clean(created_at) as created_at
    from $attendance
),

typed as (
    select
        _load_id,
        _source_row,
        _ingested_at,
        attend_id,
        student_id,
        calendar_date(date) as attend_date,
        upper_case(status) as status_word,
        instant(created_at) as created_at
    from cleaned
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
        vocabulary.meaning as status,
        case
            when latest.attend_id is null then 'missing_id'
            when latest.student_id is null then 'missing_student_id'
            when student.student_id is null then 'unknown_student'
            when latest.attend_date is null then 'invalid_date'
            when
                latest.attend_date < cast('$earliest_date' as date)
                or date_diff('day', cast(latest._ingested_at as date), latest.attend_date) > 1
                then 'date_out_of_range'
            when vocabulary.meaning is null then 'unknown_status'
        end as reason
    from latest
    left join $dim_student as student on latest.student_id = student.student_id
    left join $statuses as vocabulary on latest.status_word = vocabulary.word
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
