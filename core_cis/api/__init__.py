"""The core's HTTP routes, one resource a file."""
