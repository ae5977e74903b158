"""
What is safe in a backup of the core: signed by the core, so that edges may stop keeping it.

A backup begins with a *mark*: a name that the core writes into its books, with how far each shard's documents are,
before the first byte is copied. Whatever was decided up to there is in the backup, and so is the mark itself: books
that hold the mark, however they came about, hold what it covers.
"""

from typing import Final, NamedTuple

import msgspec

from failover.intents import Outcome
from failover.signed_orders import SignedOrder, read_as_order, sign_as_order

_PURPOSE: Final = b"ridethrough cover\n"


class Cover(msgspec.Struct, frozen=True, kw_only=True):
    """
    The oldest backup that operators keep: ``heads`` is how far each shard's documents were, in ``epoch``, at its mark.

    ``timezone`` is the utility's, by whose days edges sum up what they keep no longer.
    """

    mark: str
    epoch: int
    heads: dict[str, int]
    timezone: str

    @property
    def upto(self) -> int:
        """Tell the farthest head: no outcome behind it is covered, whatever its shard."""
        return max(self.heads.values(), default=-1)

    def covers(self, outcome: Outcome) -> bool:
        """
        Tell whether the backup holds an outcome.

        One of an earlier epoch it may not: what a restored core had forgotten is in no backup until it was brought
        back, and then the outcome is of the core's epoch.
        """
        return outcome.epoch == self.epoch and outcome.seq <= self.heads.get(outcome.shard, -1)


class Following(NamedTuple):
    """
    What an edge says of covers with each probe.

    ``held`` is the mark of the cover that it was told last, ``pruned`` of the one that it has dropped something by;
    both are empty where there is none.
    """

    held: str = ""
    pruned: str = ""

    @classmethod
    def parse(cls, text: str) -> "Following":
        """Read what `str` wrote; of an edge that says nothing: none."""
        held, _, pruned = text.partition(".")
        return cls(held, pruned)

    def __str__(self) -> str:
        """Write it for a probe."""
        return f"{self.held}.{self.pruned}"


def sign_cover(cover: Cover, signing_key: str) -> SignedOrder:
    """Sign a cover with the core's key."""
    return sign_as_order(cover, purpose=_PURPOSE, signing_key=signing_key)


def read_cover(signed: SignedOrder, core_key: str) -> Cover | None:
    """Read a cover; None for what the core has not signed, or what is no cover."""
    return read_as_order(signed, Cover, purpose=_PURPOSE, core_key=core_key)
