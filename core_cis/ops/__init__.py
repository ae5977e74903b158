"""The operators' recovery console: what waits where, orders to the drain, dead letters, the audit log."""
