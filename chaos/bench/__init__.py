"""Benchmarks: what Ridethrough does a second, beside what could be done, measured in the same run."""
