"""The assets, one module a layer. Each is a SELECT (or a delivery) and the names of what it reads."""
