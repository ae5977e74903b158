"""The customer's portal: serves from its own snapshot, with the core or without it."""
