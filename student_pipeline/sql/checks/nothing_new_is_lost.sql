-- Ids that were loaded since the last look and don't stand exactly once in silver or, refused, in the
-- quarantine; and whether as many rows without an id were refused as were loaded.
with loaded as (
    select
        clean($id) as id,
        _load_id
    from $bronze as loaded
),

ids as (
    select distinct id from loaded
    where id is not null
),

places as (
    select silver.$key as id
    from $silver as silver
    inner join ids on silver.$key = ids.id
    union all
    select clean(quarantine.$id) as id
    from $quarantine as quarantine
    where quarantine.reason <> 'malformed_record'
),

nameless as (
    select (select count(*) from loaded where id is null) - (
        select count(*) from $quarantine as quarantine
        where
            quarantine.reason <> 'malformed_record'
            and clean(quarantine.$id) is null
            and quarantine._load_id >= (select min(loaded._load_id) from loaded)
    ) as missing
)

select ids.id as key
from ids
left join places on ids.id = places.id
group by ids.id
having count(places.id) <> 1
union all
select cast(nameless.missing as varchar) || ' rows without an id' as key
from nameless
where nameless.missing <> 0
