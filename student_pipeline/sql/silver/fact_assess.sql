-- One row per assessment record: its latest version, typed, judged, with the student's class.
with cleaned as (
    select
        _load_id,
        _source_row,
        _ingested_at,
        clean(assessment_id) as assess_id,
        clean(student_id) as student_id,
        clean(subject) as subject,
        clean(date) as date,
        clean(score) as score,
        clean(max_score) as max_score,
        clean(created_at) as created_at
    from $assessments
),

typed as (
    select
        _load_id,
        _source_row,
        _ingested_at,
        assess_id,
        student_id,
        coalesce(subject, 'Unknown') as subject,
        calendar_date(date) as assess_date,
        number(score) as score,
        case when max_score is null then 100 else number(max_score) end as max_score,
        instant(created_at) as created_at
    from cleaned
),

versions as (
    select
        *,
        row_number() over (
            partition by assess_id
            order by created_at desc nulls last, _load_id desc, _source_row desc
        ) as version
    from typed
),

-- A row without an id is nobody's older version.
latest as (
    select * from versions
    where version = 1 or assess_id is null
),

judged as (
    select
        latest.*,
        student.class_id,
        case
            when latest.assess_id is null then 'missing_id'
            when latest.student_id is null then 'missing_student_id'
            when student.student_id is null then 'unknown_student'
            when latest.assess_date is null then 'invalid_date'
            when
                latest.assess_date < cast('$earliest_date' as date)
                or date_diff('day', cast(latest._ingested_at as date), latest.assess_date) > 1
                then 'date_out_of_range'
            when not is_finite(latest.score) then 'invalid_score'
            when not (is_finite(latest.max_score) and latest.max_score > 0) then 'invalid_max_score'
            when latest.score < 0 or latest.score > latest.max_score then 'score_out_of_range'
        end as reason
    from latest
    left join $dim_student as student on latest.student_id = student.student_id
)

select
    assess_id,
    student_id,
    class_id,
    subject,
    assess_date,
    score,
    max_score,
    case when reason is null then percentage(score, max_score) end as score_pct,
    created_at,
    _load_id,
    _source_row,
    id_hash(assess_id) as _id_hash,
    reason
from judged
