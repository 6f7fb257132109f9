-- One row per student: bronze already holds one row per id, so each is typed and judged.
with typed as (
    select
        _load_id,
        _source_row,
        clean(student_id) as student_id,
        clean(name) as name,
        clean(class_id) as class_id,
        clean(grade) as grade,
        clean(status) as status,
        instant(clean(updated_at)) as updated_at
    from $students
)

select
    student_id,
    coalesce(name, 'Unknown') as student_name,
    coalesce(class_id, 'UNASSIGNED') as class_id,
    grade_level(grade) as grade_level,
    coalesce(upper_case(status) in ('ACTIVE', 'ENROLLED'), false) as is_active,
    coalesce(upper_case(status), 'UNKNOWN') as enrollment_status,
    updated_at,
    _load_id,
    _source_row,
    id_hash(student_id) as _id_hash,
    case when student_id is null then 'missing_student_id' end as reason
from typed
