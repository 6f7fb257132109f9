-- Reasons for which more than the given share of a source's rows is quarantined.
with refused as (
    select
        reason,
        count(*) as refused_rows
    from $quarantine
    group by reason
),

everything as (
    select (select count(*) from $silver) + (select count(*) from $quarantine) as all_rows
)

select
    refused.reason || ': ' || cast(refused.refused_rows as varchar) || ' of '
    || cast(everything.all_rows as varchar) || ' rows' as key
from refused
cross join everything
where refused.refused_rows > everything.all_rows * $limit
