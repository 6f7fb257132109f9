-- Latest versions in bronze must be the rows of silver and of silver's part of the quarantine.
-- A row without an id is a version of nothing else.
with delivered as (
    select clean($id) as id from $bronze
),

bronze as (
    select count(distinct id) + count(*) - count(id) as latest_versions from delivered
),

silver as (
    select count(*) as accepted from $silver
),

quarantine as (
    select count(*) as refused from $quarantine
    where reason <> 'malformed_record'
)

select
    'latest versions in bronze ' || cast(bronze.latest_versions as varchar)
    || ', rows in silver ' || cast(silver.accepted as varchar)
    || ', refused rows in quarantine ' || cast(quarantine.refused as varchar) as key
from bronze
cross join silver
cross join quarantine
where bronze.latest_versions <> silver.accepted + quarantine.refused
