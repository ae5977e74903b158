"""Drills: one a file, each with a steady state, a fault, a recovery and what must hold."""
