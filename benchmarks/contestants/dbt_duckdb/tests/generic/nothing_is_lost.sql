{% test nothing_is_lost(model, bronze, id) %}
select *
from (select count(distinct {{ text(id) }}) as latest_versions from {{ bronze }})
cross join (select count(*) as accepted from {{ model }})
where latest_versions <> accepted
{% endtest %}
