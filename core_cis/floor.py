"""
Up to where a shard's tombstones may be forgotten. Pure.

A tombstone is what tells a follower that a document is gone. It stays until every active edge has it for good: on its
own disk, where a power loss leaves it. An edge that stays away too long is no longer waited for; when it comes back it
is below the floor and begins anew. So no edge ever misses a delete, whatever this rule says: it decides who may go on.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

FILE_HOLDER = "snapshot file"
AGE_HOLDER = "age"


class Reported(NamedTuple):
    """
    What an active edge last said that it holds for good of a shard; ``epoch`` 0 when it never said anything.

    ``heard_at`` is when it said so, or when it was registered.
    """

    node_id: str
    epoch: int
    seq: int
    heard_at: datetime


class Floor(NamedTuple):
    """
    What may be forgotten of a shard.

    Tombstones up to ``through`` may be; ``held_by`` names who keeps it from going further: an edge, `snapshot file` for
    nodes that are beginning with one, `age` for those that are beginning with the feed, nobody when it is at the head.
    ``away`` are edges that are no longer waited for.
    """

    through: int
    held_by: str
    away: tuple[str, ...]


def decide_floor(
    present: int,
    head: int,
    *,
    epoch: int,
    reports: Iterable[Reported],
    now: datetime,
    away_max: timedelta,
    aged: int,
    file_seq: int | None,
) -> Floor:
    """
    Decide how far a shard's floor may be raised; never below where it is, never above the head.

    A report of another epoch holds nothing back: that edge begins anew whatever is kept.

    Args:
        present: The floor as it is.
        head: The shard's newest seq.
        epoch: The shard's.
        reports: Of all active edges, one each.
        now: The core's time.
        away_max: How long an edge that says nothing is waited for.
        aged: The head as it was some time ago: a node that has begun to read the feed from its beginning needs the
            tombstones of what changes meanwhile.
        file_seq: Where the newest snapshot file stands that is handed out, None without one: what begins with it needs
            the tombstones from there on.
    """
    holders = [(aged, AGE_HOLDER)]
    if file_seq is not None:
        holders.append((file_seq, FILE_HOLDER))
    away = []
    for report in sorted(reports):
        if now - report.heard_at > away_max:
            away.append(report.node_id)
        elif report.epoch == 0:
            holders.append((present, report.node_id))
        elif report.epoch == epoch:
            holders.append((report.seq, report.node_id))
    # Of two that hold it at the same place an edge is named before the rest: somebody can look at it.
    through, held_by = min(holders, key=lambda one: (one[0], one[1] in {AGE_HOLDER, FILE_HOLDER}))
    through = max(present, min(through, head))
    return Floor(through, held_by if through < head else "", tuple(away))
