"""Demo data: made-up customers, real tariffs typed in as facts, and a year of usage shaped by published figures."""
