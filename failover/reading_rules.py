"""
What a meter reading of a customer must be like: the same for the edge that takes it and the core that decides. Pure.

A register only rises, until all its digits are nines and it begins anew at zero. What a household can use between two
readings is bounded, so that a mistyped digit is told to the customer and not billed.
"""

from collections.abc import Iterable
from datetime import date
from typing import Literal, NamedTuple

from failover.message_bodies import REGISTER_WH_MAX

ReadingProblem = Literal[
    "register_out_of_range", "read_in_future", "reading_decreased", "reading_too_high"
]

DAILY_WH_MAX = 300_000
"""Ten times what a large household uses."""
_DIGITS_MIN = 5
_WH_A_KWH = 1000


class LastRead(NamedTuple):
    """What a register is known to have shown at the beginning of a local day."""

    read_on: date
    register_wh: int


def newest(reads: Iterable[LastRead]) -> LastRead | None:
    """Choose the newest read; of one day the last that is named."""
    found: LastRead | None = None
    for read in reads:
        if found is None or read.read_on >= found.read_on:
            found = read
    return found


def is_older(read_on: date, last: LastRead | None) -> bool:
    """Tell whether a reading is older than what is known: it is kept as history, and changes nothing."""
    return last is not None and read_on < last.read_on


def problem_of_reading(
    read_on: date, register_wh: int, *, last: LastRead | None, today: date
) -> ReadingProblem | None:
    """
    Say why a reading cannot be; None when it can.

    Args:
        read_on: The local day.
        register_wh: What the register showed.
        last: The newest read that is known of this register.
        today: The local day on which the customer sent it.
    """
    if not 0 <= register_wh <= REGISTER_WH_MAX:
        return "register_out_of_range"
    if read_on > today:
        return "read_in_future"
    if last is None or is_older(read_on, last):
        return None
    most_wh = DAILY_WH_MAX * max(1, (read_on - last.read_on).days)
    used_wh = register_wh - last.register_wh
    if used_wh < 0:
        used_wh += _register_size_wh(last.register_wh)
        return "reading_decreased" if used_wh > most_wh else None
    return "reading_too_high" if used_wh > most_wh else None


def _register_size_wh(shown_wh: int) -> int:
    """Tell where a register begins anew: after as many nines as it has digits, five at least."""
    digits = max(_DIGITS_MIN, len(str(shown_wh // _WH_A_KWH)))
    return int(10**digits) * _WH_A_KWH
