"""
Register reads: a meter that only counts upwards, read now and then.

Usage is the difference of two reads. A read below the one before is a rollover only when that is
plausible, and never when the one before was an estimate: then the estimate was too high.
"""

from datetime import date
from typing import Literal

import msgspec

from core_cis.errors import ImplausibleRead

# A rolled-over difference may be at most this part of what the dials can count, and at most this
# many times what the account uses in that many days.
ROLLOVER_CAPACITY_SHARE = 10
ROLLOVER_AVERAGE_FACTOR = 4


class RegisterRead(msgspec.Struct, frozen=True):
    """
    What the dials of a meter showed.

    Attributes:
        day: The local day it was read.
        units: The figure on the dials.
        kind: Whether somebody saw it.
    """

    day: date
    units: int
    kind: Literal["actual", "estimated"] = "actual"


def register_usage(
    previous: RegisterRead,
    current: RegisterRead,
    *,
    dials: int,
    average_daily_units: int,
    wh_per_unit: int = 1000,
) -> int:
    """
    Wh used between two reads of one meter.

    Args:
        previous: The earlier read.
        current: The later read.
        dials: How many digits the register has; 5 dials go from 99,999 to 0.
        average_daily_units: The account's average daily usage (ADU), to judge a rollover by.
        wh_per_unit: The multiplier of the meter.

    Raises:
        ImplausibleRead: `below_estimate`, when an estimate turns out too high (the bill is to be
            corrected), or `below_previous`, when the fall is no plausible rollover.
    """
    used = current.units - previous.units
    if used >= 0:
        return used * wh_per_unit
    if previous.kind == "estimated":
        raise ImplausibleRead(
            "below_estimate",
            f"the read of {current.day}, {current.units}, is below the estimate of "
            f"{previous.day}, {previous.units}: the estimate was too high",
        )
    capacity: int = 10**dials
    rolled_over = capacity + used
    days = max((current.day - previous.day).days, 1)
    plausible = ROLLOVER_AVERAGE_FACTOR * average_daily_units * days
    if rolled_over * ROLLOVER_CAPACITY_SHARE > capacity or rolled_over > plausible:
        raise ImplausibleRead(
            "below_previous",
            f"the read of {current.day}, {current.units}, is below that of {previous.day}, "
            f"{previous.units}, and no plausible rollover",
        )
    return rolled_over * wh_per_unit
