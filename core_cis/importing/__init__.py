"""Taking in a utility's own data: customers, tariffs, meter readings."""
