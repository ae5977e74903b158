"""Intents upstream: what a customer wants done, kept safe until the core has done it once."""
