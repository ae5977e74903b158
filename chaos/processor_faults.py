"""Faults of a simulated payment processor: each hits the next calls that move money, and heals by itself."""

import time
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

from chaos.faults import TTL_SECONDS_DEFAULT, Delay, Ttl

FaultKind = Literal["slow", "reset_before", "reset_after", "error_before", "error_after"]
"""
``slow`` answers late; ``reset_before`` cuts the line before anything was done, ``reset_after`` after it was done;
``error_before`` answers 500 without having done anything and stores that under the key, ``error_after`` answers 500
although it was done.
"""


class ProcessorFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault as ordered: it hits ``count`` calls within ``ttl_seconds``; ``seconds`` is how late a slow answer is."""

    kind: FaultKind
    seconds: Delay = 2.0
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    ttl_seconds: Ttl = TTL_SECONDS_DEFAULT


class WebhookFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How events are told from now on: ``copies`` of each, each after ``late_seconds``; none while ``lost``."""

    copies: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1
    late_seconds: Delay = 0.0
    lost: bool = False


class FaultDesk:
    """Keeps the fault in force and counts down what it still hits."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._fault: ProcessorFault | None = None
        self._left = 0
        self._until = 0.0
        self.webhooks = WebhookFault()

    def order(self, fault: ProcessorFault) -> None:
        """Put a fault in force, in place of the one before."""
        self._fault, self._left = fault, fault.count
        self._until = self._monotonic() + fault.ttl_seconds

    def heal(self) -> None:
        """End every fault."""
        self._fault, self._left = None, 0
        self.webhooks = WebhookFault()

    def hit(self) -> ProcessorFault | None:
        """Take the fault that one call suffers; None when it suffers none."""
        if self._fault is None or self._left <= 0 or self._monotonic() > self._until:
            return None
        self._left -= 1
        return self._fault

    def in_force(self) -> ProcessorFault | None:
        """Tell which fault would hit the next call."""
        expired = self._left <= 0 or self._monotonic() > self._until
        return None if expired else self._fault
