"""Whole fleets on one virtual clock: the product's own code, a made-up world around it."""
