-- Ids that were loaded or changed since the last look and don't stand exactly once in silver or, refused,
-- in the quarantine; and whether as many rows without an id were refused as were loaded.
with fresh as (
    select
        clean($id) as id,
        _load_id
    from $bronze
),

ids as (
    select id from fresh
    where id is not null
    union distinct
    select changed.id from ($changes) as changed
),

refused as (
    select
        clean($id) as id,
        _load_id
    from $quarantine
    where reason <> 'malformed_record'
),

places as (
    select silver.$key as id
    from $silver as silver
    inner join ids on silver.$key = ids.id
    union all
    select refused.id
    from refused
),

nameless_loaded as (
    select
        count(*) as loaded,
        min(_load_id) as first_load
    from fresh
    where id is null
),

nameless as (
    select nameless_loaded.loaded - count(refused._load_id) as missing
    from nameless_loaded
    left join refused on nameless_loaded.first_load <= refused._load_id and refused.id is null
    group by nameless_loaded.loaded
)

select ids.id as key
from ids
left join places on ids.id = places.id
group by ids.id
having count(places.id) <> 1
union all
select 'rows without an id: ' || cast(nameless.missing as varchar) as key
from nameless
where nameless.missing <> 0
