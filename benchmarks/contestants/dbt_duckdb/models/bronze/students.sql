-- The roster: one row per student, the newest delivery of each; a row that did not change stays as it is.
{{ config(unique_key='student_id', incremental_strategy='delete+insert') }}

with delivered as (
    select
        student_id,
        name,
        class_id,
        grade,
        status,
        updated_at,
        _source_file
    from {{ source('landing', 'students') }}
    qualify row_number() over (partition by student_id order by updated_at desc nulls last) = 1
)

select
    delivered.*,
    '{{ run_started_at }}'::timestamptz as _ingested_at
from delivered
{% if is_incremental() %}
left join {{ this }} as stored on delivered.student_id = stored.student_id
where
    stored.student_id is null
    or (
        coalesce(delivered.updated_at >= stored.updated_at, true)
        and (delivered.name, delivered.class_id, delivered.grade, delivered.status, delivered.updated_at)
        is distinct from (stored.name, stored.class_id, stored.grade, stored.status, stored.updated_at)
    )
{% endif %}
