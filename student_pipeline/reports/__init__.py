"""What people look at outside of the warehouse: the published tables and the report page."""
