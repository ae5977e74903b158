"""The dry run: what the drain would do with everything that waits, decided by the real intake and undone again."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

import msgspec

from failover.intents import Intent, Outcome
from failover.peer_messages import RecordedIntent

PART_MAX = 100


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """
    What would become of one payment that waits; ``amount`` in minor units.

    ``state`` is ``posted``, ``rejected``, ``dead_letter``, or ``refused`` (nobody proved to have recorded it: it has no
    outcome and stays where it is).
    """

    intent_id: str
    fingerprint: str
    edge_id: str
    account_id: str
    amount: int
    accepted_at: datetime
    state: str
    reason: str = ""


class Sum(msgspec.Struct, frozen=True, kw_only=True):
    """How many payments would end so, and their amount."""

    state: str
    reason: str
    count: int
    amount: int


class Rehearsal(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the drain would do.

    ``silent`` are edges that were not reached: of what they hold, only siblings' copies are in it.
    """

    made_at: datetime
    silent: list[str]
    sums: list[Sum]
    predictions: list[Prediction]

    @property
    def count(self) -> int:
        """Tell how many payments wait."""
        return len(self.predictions)

    @property
    def amount(self) -> int:
        """Tell how much money waits."""
        return sum(each.amount for each in self.predictions)


def waiting(recorded: Iterable[RecordedIntent]) -> list[Intent]:
    """
    List what a drain would bring, each wish once, oldest first.

    Of a wish that is a promise somewhere, and elsewhere only an attempt until a last moment, the promise is brought.
    """
    found: dict[tuple[str, str], Intent] = {}
    for item in recorded:
        pair = (item.intent.intent_id, item.intent.fingerprint)
        known = found.get(pair)
        if known is None or (known.not_after is not None and item.intent.not_after is None):
            found[pair] = item.intent
    return sorted(found.values(), key=lambda each: (each.accepted_at, each.intent_id))


def parts(intents: Iterable[Intent], size: int = PART_MAX) -> list[list[Intent]]:
    """
    Part intents for rehearsing, so that live traffic comes in between.

    Payments commute; only those that share an id decide about each other, so they stay together.
    """
    by_id: dict[str, list[Intent]] = defaultdict(list)
    for intent in intents:
        by_id[intent.intent_id].append(intent)
    made: list[list[Intent]] = [[]]
    for group in by_id.values():
        if len(made[-1]) + len(group) > size and made[-1]:
            made.append([])
        made[-1] += group
    return [part for part in made if part]


def predictions(
    intents: Iterable[Intent], outcomes: Iterable[Outcome], refused: Iterable[tuple[Intent, str]]
) -> list[Prediction]:
    """Put what was decided, and what was refused, beside the intents."""
    decided = {(each.intent_id, each.fingerprint): each for each in outcomes}
    reasons = {(each.intent_id, each.fingerprint): reason for each, reason in refused}
    made = []
    for intent in intents:
        pair = (intent.intent_id, intent.fingerprint)
        outcome = decided.get(pair)
        made.append(
            Prediction(
                intent_id=intent.intent_id,
                fingerprint=intent.fingerprint,
                edge_id=intent.edge_id,
                account_id=intent.account_id,
                amount=intent.amount_cents,
                accepted_at=intent.accepted_at,
                state=outcome.state if outcome else "refused",
                reason=outcome.reason if outcome else reasons.get(pair, "undecided"),
            )
        )
    return made


def summed(listed: Iterable[Prediction]) -> list[Sum]:
    """Sum predictions by what would become of them; what would be posted first."""
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    for each in listed:
        count, amount = counts.get((each.state, each.reason), (0, 0))
        counts[each.state, each.reason] = (count + 1, amount + each.amount)
    order = ("posted", "rejected", "dead_letter", "refused")
    return [
        Sum(state=state, reason=reason, count=count, amount=amount)
        for (state, reason), (count, amount) in sorted(
            counts.items(), key=lambda item: (order.index(item[0][0]), item[0][1])
        )
    ]
