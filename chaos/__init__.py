"""Breaking it on purpose: a local fleet of real processes, faults, drills and what must hold."""
