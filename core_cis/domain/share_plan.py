"""
How the fleet's stand-in total is shared out among edges that may not hear of each other, nor of the core.

An edge is told more only out of what no other edge may still have; one that is to have less counts with what it had
until it is heard to follow. So the shares of all active edges together stay within the total whenever an edge joins,
leaves or is cut off. Only when operators lower the total below what is already outstanding, or out with an edge that
does not answer, are they over it, and then nobody else is told anything that adds to it.
"""

import msgspec

from failover.standin import OWN_FILE, Holding, OrderPlace


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the core knows of one edge's share, in minor units.

    ``epoch`` and ``serial`` name the order that it was told last, ``version`` the limits that this was made of, 0 when
    it has to be told anew. ``held_cents`` is the most that may be outstanding there, now or by what it was told.
    """

    epoch: int = OWN_FILE.epoch
    serial: int = OWN_FILE.serial
    version: int = 0
    share_cents: int = 0
    held_cents: int = 0

    @property
    def place(self) -> OrderPlace:
        """Tell the order that it was told last."""
        return OrderPlace(self.epoch, self.serial)


class Pot(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is to be shared out: the limits in force, and what all other active edges may have.

    ``even_cents`` is what each edge is to have in the end. ``others_known`` is False while an edge has not said what it
    holds since the core was restored: it may have been told more than the core remembers.
    """

    epoch: int
    version: int
    total_cents: int
    even_cents: int
    others_held_cents: int
    others_known: bool = True


def even_share(total_cents: int, edges: int, most_cents: int) -> int:
    """Return what each of so many edges is to have of a total, and no more than ``most_cents``."""
    return min(most_cents, total_cents // max(1, edges))


def heard(share: Share, said: Holding | None) -> Share:
    """
    Take in what an edge says that it holds; None of one that says nothing.

    Only a word of the order that it was told last makes what counts for it less: an older one may have been on its way
    for long.
    """
    if said is None:
        return share
    if share.place == OWN_FILE:
        # Nothing was told yet: what was assumed gives way to what the edge's own file says.
        return msgspec.structs.replace(share, held_cents=said.cents)
    if said.place == share.place and said.cents <= share.share_cents:
        return msgspec.structs.replace(share, held_cents=share.share_cents)
    most = max(share.held_cents, said.cents)
    if said.place.epoch == share.epoch and said.place.serial > share.serial:
        # The core has forgotten what it told: the next order comes after that one.
        return msgspec.structs.replace(share, held_cents=most, serial=said.place.serial, version=0)
    return msgspec.structs.replace(share, held_cents=most)


def planned(share: Share, pot: Pot) -> Share:
    """Return what an edge is to be told now; the same where it was told that already."""
    room = max(0, pot.total_cents - pot.others_held_cents)
    cents = min(pot.even_cents, room)
    if not pot.others_known:
        cents = min(cents, share.held_cents)
    if (share.epoch, share.version, share.share_cents) == (pot.epoch, pot.version, cents):
        return share
    return Share(
        epoch=pot.epoch,
        serial=share.serial + 1,
        version=pot.version,
        share_cents=cents,
        held_cents=max(share.held_cents, cents),
    )
