"""What a program is told where a stand-in limit is in the way: the field that it is about, and what to do."""

from typing import Final, NamedTuple

_LATER: Final = "send the same key again when billing is back"


class LimitDetail(NamedTuple):
    """The field of the request that a limit is about, and a sentence on what to do next."""

    field: str
    detail: str


_DETAILS: Final = {
    "per_payment": LimitDetail("amount", f"Pay less at once, or {_LATER}."),
    "account_day_count": LimitDetail(
        "amount", f"This account has sent too many in the last 24 hours: {_LATER}."
    ),
    "account_day_sum": LimitDetail(
        "amount",
        f"With what was accepted in the last 24 hours it is too much: pay less, or {_LATER}.",
    ),
    "edge_outstanding": LimitDetail(
        "amount",
        f"This edge can take only so much in all: pay less, pay at another edge, or {_LATER}.",
    ),
    "snapshot_age": LimitDetail("amount", f"What this edge knows is too old to pay by: {_LATER}."),
    "outage_length": LimitDetail("amount", f"The outage has lasted too long: {_LATER}."),
    "method_not_verified": LimitDetail("method_id", "Use a method that is verified."),
    "method_type": LimitDetail(
        "method_id", f"This kind of method cannot be used now: use another, or {_LATER}."
    ),
}


def limit_detail(which: str) -> LimitDetail:
    """Tell what to do about a limit, by its name in `failover.standin.Exceeded`."""
    return _DETAILS.get(which, LimitDetail("amount", f"Pay or send less, or {_LATER}."))
