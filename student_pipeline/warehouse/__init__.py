"""How tables are stored: the DuckDB connection, the write strategies and the Dagster IO manager."""
