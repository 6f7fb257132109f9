-- Reasons for which more than the given share of a source's rows is quarantined.
with refused as (
    select reason, count(*) as refused_rows from $quarantine
    group by reason
),

everything as (
    select (select count(*) from $silver) + (select count(*) from $quarantine) as all_rows
)

select
    reason || ': ' || cast(refused_rows as varchar) || ' of ' || cast(all_rows as varchar) || ' rows' as key
from refused
cross join everything
where refused_rows > all_rows * $limit
