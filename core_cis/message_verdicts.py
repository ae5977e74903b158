"""How the core judges a message."""

from typing import Literal, NamedTuple

SUPERSEDED = "superseded"
"""It is posted, and a later one that is known counts instead."""


class Verdict(NamedTuple):
    """
    What becomes of a message.

    ``reason`` says why it is rejected, or what more is to say of a posted one; ``case_number`` is the ticket that a
    posted one stands under.
    """

    state: Literal["posted", "rejected"]
    reason: str = ""
    case_number: str = ""


def posted(note: str = "", *, case_number: str = "") -> Verdict:
    """Take it."""
    return Verdict("posted", note, case_number)


def rejected(reason: str) -> Verdict:
    """Do not take it."""
    return Verdict("rejected", reason)
