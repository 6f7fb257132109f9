-- One row per student: bronze already holds one row per id, so each is typed and judged.
with cleaned as (
    select
        _load_id,
        _source_row,
        clean(student_id) as student_id,
        clean(name) as name,
        clean(class_id) as class_id,
        clean(grade) as grade,
        upper_case(clean(status)) as status,
        clean(updated_at) as updated_at
    from $students
)

select
    student_id,
    coalesce(name, 'Unknown') as student_name,
    coalesce(class_id, 'UNASSIGNED') as class_id,
    grade_level(grade) as grade_level,
    coalesce(status in ('ACTIVE', 'ENROLLED'), false) as is_active,
    coalesce(status, 'UNKNOWN') as enrollment_status,
    instant(updated_at) as updated_at,
    _load_id,
    _source_row,
    id_hash(student_id) as _id_hash,
    case when student_id is null then 'missing_student_id' end as reason
from cleaned
