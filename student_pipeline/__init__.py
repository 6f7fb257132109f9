"""School files in, trusted tables out: a Dagster pipeline on DuckDB."""
