"""
What can go wrong while breaking things on purpose.

```
ChaosError
├── FleetError          a process of the fleet did not start, answer or stop
├── ControlError        a fault proxy or the demo did not do what it was told
├── RefusedError        a drill may not begin now: nothing was broken
└── SteadyStateError    the fleet was not well before a drill: nothing was broken
```
"""


class ChaosError(Exception):
    """The root of what goes wrong here; the message is for whoever started the command."""


class FleetError(ChaosError):
    """A process of the fleet did not start, answer or stop in time."""


class ControlError(ChaosError):
    """A fault proxy or the demo did not do what it was told."""


class RefusedError(ChaosError):
    """The drill may not begin here and now, so it broke nothing."""


class SteadyStateError(ChaosError):
    """The fleet was not well before the drill, so the drill broke nothing."""
