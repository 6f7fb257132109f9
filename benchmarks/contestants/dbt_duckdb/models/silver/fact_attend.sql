-- One row per attendance record: its latest version, with the student's class.
{{ config(unique_key='attend_id') }}

with
{% if is_incremental() %}
arrived as (
    select
        {{ text('attend_id') }} as attend_id,
        {{ text('student_id') }} as student_id,
        {{ day('date') }} as attend_date
    from {{ ref('attendance') }}
    where _ingested_at > (select max(_ingested_at) from {{ this }})
),

-- Days on which a record came, went or changed: which one counts is decided anew.
student_days as (
    select student_id, attend_date from arrived
    union
    select student_id, attend_date from {{ this }}
    where attend_id in (select attend_id from arrived)
),

affected as (
    select attend_id from arrived
    union
    select stored.attend_id
    from {{ this }} as stored
    inner join student_days using (student_id, attend_date)
    union
    select stored.attend_id
    from {{ this }} as stored
    inner join {{ ref('dim_student') }} as student using (student_id)
    where stored.class_id <> student.class_id
),
{% endif %}

latest as (
    select
        {{ text('attend_id') }} as attend_id,
        {{ text('student_id') }} as student_id,
        {{ day('date') }} as attend_date,
        case
            when upper({{ text('status') }}) in ('P', 'PRESENT') then 'PRESENT'
            when upper({{ text('status') }}) in ('A', 'ABSENT', 'U', 'UNEXCUSED') then 'ABSENT'
            when upper({{ text('status') }}) in ('L', 'LATE', 'T', 'TARDY') then 'LATE'
            when upper({{ text('status') }}) in ('E', 'EXCUSED') then 'EXCUSED'
        end as status,
        {{ timestamp('created_at') }} as created_at,
        _ingested_at
    from {{ ref('attendance') }}
    where
        {{ text('attend_id') }} is not null
        {% if is_incremental() %}
        and {{ text('attend_id') }} in (select attend_id from affected)
        {% endif %}
    qualify row_number() over (
        partition by {{ text('attend_id') }} order by {{ timestamp('created_at') }} desc nulls last, _ingested_at desc
    ) = 1
)

select
    latest.attend_id,
    latest.student_id,
    student.class_id,
    latest.attend_date,
    latest.status,
    latest.status in ('PRESENT', 'LATE') as is_present,
    row_number() over (
        partition by latest.student_id, latest.attend_date
        order by latest.created_at desc nulls last, is_present desc, latest.attend_id desc
    ) = 1 as counts_for_day,
    latest.created_at,
    latest._ingested_at
from latest
inner join {{ ref('dim_student') }} as student on latest.student_id = student.student_id
where latest.attend_date is not null and latest.status is not null
