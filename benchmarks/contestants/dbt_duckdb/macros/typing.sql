{% macro text(column) -%}
    nullif(trim({{ column }}), '')
{%- endmacro %}

{% macro day(column) -%}
    try_cast(trim({{ column }}) as date)
{%- endmacro %}

{% macro timestamp(column) -%}
    try_cast(trim({{ column }}) as timestamptz)
{%- endmacro %}

{% macro share(part, whole) -%}
    floor({{ part }} * 10000 / nullif({{ whole }}, 0) + 0.5) / 10000
{%- endmacro %}

{% macro not_loaded_yet() -%}
    {% if is_incremental() %}
    where _source_file not in (select distinct _source_file from {{ this }})
    {% endif %}
{%- endmacro %}
