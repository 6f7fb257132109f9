-- Assessment records as delivered, every version of each; a file is loaded once.
{{ config(incremental_strategy='append') }}

select
    *,
    '{{ run_started_at }}'::timestamptz as _ingested_at
from {{ source('landing', 'assessments') }}
{{ not_loaded_yet() }}
