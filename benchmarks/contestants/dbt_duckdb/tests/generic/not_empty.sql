{% test not_empty(model) %}
select 1
where not exists (from {{ model }})
{% endtest %}
