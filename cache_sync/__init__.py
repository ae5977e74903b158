"""Documents downstream: what the core publishes, kept true and dated at every node."""
