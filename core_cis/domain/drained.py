"""
Whether all that edges accepted for an account up to an instant is in the books: what a fee must wait for. Pure.

An edge has reported drained past an instant when it answered after it and nothing of the account waits there. An edge
that does not answer may hold a payment. An expelled edge is asked as well; when it does not answer, it may still hold
what it accepted before it was expelled, so it is waited for where the bill was out by then, and not for later bills.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Literal

import msgspec

ANSWER_AFTER = timedelta(minutes=2)
"""How long after an instant an edge must answer: what was stamped just before it is in its journal by then."""

Pair = tuple[str, str]
WaitReason = Literal[
    "edge_silent", "edge_expelled", "edge_not_past", "edge_awaited", "payment_waiting", "case_open"
]
"""
``edge_silent``: it does not answer; ``edge_expelled``: likewise, and it was revoked when the bill was out already;
``edge_not_past``: it answered before the instant was over; ``edge_awaited``: this core was restored and waits for what
the edge brings back; ``payment_waiting``: a payment of the account waits there;
``case_open``: a payment of the account is under review.
"""


class EdgeWord(msgspec.Struct, frozen=True, kw_only=True):
    """
    What an edge said that waits there: (id, fingerprint) of undecided payments by account.

    ``told_at`` is when it was asked, None when it did not answer. ``expelled_on`` is the day of its revocation.
    """

    node_id: str
    told_at: datetime | None
    waiting: Mapping[str, frozenset[Pair]] = {}
    expelled_on: date | None = None


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """What an account waits for: a reason, and the edge or the case that it is about."""

    reason: WaitReason
    about: str


def waits_for(
    words: Iterable[EdgeWord],
    account_id: str,
    *,
    bill_issued_on: date,
    judged_until: datetime,
    decided: frozenset[Pair] = frozenset(),
) -> list[Wait]:
    """
    Tell what has to come in before a bill of an account may be judged; nothing when all has.

    Args:
        words: What the registered edges said, but for those that operators do without.
        account_id: The account.
        bill_issued_on: When the bill was out.
        judged_until: The instant up to which payments count.
        decided: Payments that the core has decided meanwhile.
    """
    found = []
    for word in words:
        reason = _reason(word, account_id, bill_issued_on, judged_until, decided)
        if reason is not None:
            found.append(Wait(reason=reason, about=word.node_id))
    return found


def _reason(
    word: EdgeWord,
    account_id: str,
    bill_issued_on: date,
    judged_until: datetime,
    decided: frozenset[Pair],
) -> WaitReason | None:
    if word.told_at is None:
        if word.expelled_on is None:
            return "edge_silent"
        return "edge_expelled" if bill_issued_on <= word.expelled_on else None
    if word.waiting.get(account_id, frozenset()) - decided:
        return "payment_waiting"
    if word.expelled_on is None and word.told_at < judged_until + ANSWER_AFTER:
        return "edge_not_past"
    return None
