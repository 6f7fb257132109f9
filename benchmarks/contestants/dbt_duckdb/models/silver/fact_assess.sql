-- One row per assessment record: its latest version, with the student's class.
{{ config(unique_key='assess_id') }}

with
{% if is_incremental() %}
affected as (
    select {{ text('assessment_id') }} as assess_id
    from {{ ref('assessments') }}
    where _ingested_at > (select max(_ingested_at) from {{ this }})
    union
    select stored.assess_id
    from {{ this }} as stored
    inner join {{ ref('dim_student') }} as student using (student_id)
    where stored.class_id <> student.class_id
),
{% endif %}

latest as (
    select
        {{ text('assessment_id') }} as assess_id,
        {{ text('student_id') }} as student_id,
        coalesce({{ text('subject') }}, 'Unknown') as subject,
        {{ day('date') }} as assess_date,
        try_cast(score as double) as score,
        coalesce(try_cast(max_score as double), 100) as max_score,
        {{ timestamp('created_at') }} as created_at,
        _ingested_at
    from {{ ref('assessments') }}
    where
        {{ text('assessment_id') }} is not null
        {% if is_incremental() %}
        and {{ text('assessment_id') }} in (select assess_id from affected)
        {% endif %}
    qualify row_number() over (
        partition by {{ text('assessment_id') }}
        order by {{ timestamp('created_at') }} desc nulls last, _ingested_at desc
    ) = 1
)

select
    latest.assess_id,
    latest.student_id,
    student.class_id,
    latest.subject,
    latest.assess_date,
    latest.score,
    latest.max_score,
    round(100 * latest.score / latest.max_score, 2) as score_pct,
    latest.created_at,
    latest._ingested_at
from latest
inner join {{ ref('dim_student') }} as student on latest.student_id = student.student_id
where latest.assess_date is not null and latest.max_score > 0 and latest.score between 0 and latest.max_score
