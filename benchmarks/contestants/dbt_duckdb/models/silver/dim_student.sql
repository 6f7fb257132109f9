-- One row per student.
{{ config(unique_key='student_id') }}

with typed as (
    select
        {{ text('student_id') }} as student_id,
        coalesce({{ text('name') }}, 'Unknown') as student_name,
        coalesce({{ text('class_id') }}, 'UNASSIGNED') as class_id,
        replace(upper(grade), ' ', '') as grade,
        upper({{ text('status') }}) as status,
        {{ timestamp('updated_at') }} as updated_at,
        _ingested_at
    from {{ ref('students') }}
    {% if is_incremental() %}
    where _ingested_at > (select max(_ingested_at) from {{ this }})
    {% endif %}
)

select
    student_id,
    student_name,
    class_id,
    case
        when regexp_matches(grade, '^(GRADE)?(K|KG|KINDERGARTEN)$') then 0
        when grade in ('PK', 'PRE-K', 'PREK') then -1
        else try_cast(regexp_extract(grade, '^(?:GRADE)?(\d{1,2})(?:\.0|ST|ND|RD|TH)?$', 1) as integer)
    end as grade_level,
    coalesce(status in ('ACTIVE', 'ENROLLED'), false) as is_active,
    coalesce(status, 'UNKNOWN') as enrollment_status,
    updated_at,
    _ingested_at
from typed
where student_id is not null
