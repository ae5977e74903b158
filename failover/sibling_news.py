"""
What a node has heard of what waits at its siblings, and what payments of an account it may therefore miss.

The agent writes it down, the workers read it. Where the agent is gone it grows old, and is told as such.
"""

from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from cache_sync.clock import Clock
from failover.marks import Marker, is_marked

HEARD_SECONDS: Final = 30.0
"""A sibling that was heard of longer ago may have accepted what nobody here knows."""

WRITTEN_SECONDS: Final = 5.0
"""How old what is written down may be before it is written anew although nothing else has changed."""

PAYMENTS_MAX: Final = 1000


class NodeNews(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a sibling said last, by itself or through another.

    ``heard_at`` is when it was so, on this machine's boot clock, None where it was never heard of; ``observed_at`` the
    same in core time as the sibling estimated it. The rest is as in `Summary`, with the set of marks itself.
    """

    node_id: str
    heard_at: float | None = None
    observed_at: datetime | None = None
    incarnation: str = ""
    last_ordinal: int = 0
    count: int = 0
    cents: int = 0
    unlisted: int = 0
    normal: bool = True
    marks: bytes = b""


class SiblingNews(msgspec.Struct, frozen=True, kw_only=True):
    """What was heard of every sibling, on the boot clock of one start of the machine."""

    boot_id: str = ""
    nodes: list[NodeNews] = []


def undated(news: NodeNews) -> NodeNews:
    """Return what a sibling said without when it did."""
    return msgspec.structs.replace(news, heard_at=None, observed_at=None)


class MayMiss(msgspec.Struct, frozen=True, kw_only=True):
    """
    That payments of an account may have been accepted of which this node knows nothing.

    ``waiting``: a sibling has that many, at least, that are not known here. ``unheard``: a sibling was not heard of
    lately, or has more than it lists; ``since`` is the core time from which on nothing is known, None where nothing
    ever was.
    """

    why: Literal["waiting", "unheard"]
    payments: int = 0
    since: datetime | None = None


class NewsMoment(msgspec.Struct, frozen=True, kw_only=True):
    """
    The news as they count now: ``version`` is another whenever something may be missed that was not, or no longer.

    ``nodes`` are those whose lists count, ``unheard`` tells of those whose lists cannot be known.
    """

    version: int = 0
    nodes: tuple[NodeNews, ...] = ()
    unheard: MayMiss | None = None


NO_NEWS: Final = NewsMoment()


class NewsReader:
    """
    Reads the news for every request; an unchanged file is not read again.

    Args:
        path: What the agent writes.
        clock: What is old is measured on it.
        fleet_key: What marks are made with; without it no account can be looked for.
    """

    def __init__(self, path: Path, *, clock: Clock, fleet_key: bytes = b"") -> None:
        self._path = path
        self._clock = clock
        self._marker = Marker(fleet_key)
        self._seen: tuple[int, int, int] | None = None
        self._version = 0
        self._news = SiblingNews()

    def read(self) -> SiblingNews:
        """Return what was written down; nothing where that is missing or cannot be read. Never raises."""
        try:
            found = self._path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen != self._seen:
                self._take(msgspec.msgpack.decode(self._path.read_bytes(), type=SiblingNews))
                self._seen = seen
        except (OSError, msgspec.DecodeError):
            self._take(SiblingNews())
            self._seen = None
        return self._news

    def _take(self, news: SiblingNews) -> None:
        """Take over what is new; that siblings were heard of again is no other version."""
        if [*map(undated, news.nodes)] != [*map(undated, self._news.nodes)]:
            self._version += 1
        self._news = news

    def age_seconds(self, node: NodeNews, news: SiblingNews) -> float | None:
        """Tell how old the news of a sibling are; None where there are none, or only of another boot."""
        if node.heard_at is None or news.boot_id != self._clock.boot_id():
            return None
        return max(0.0, self._clock.boot_seconds() - node.heard_at)

    def moment(self, *, normal: bool) -> NewsMoment:
        """
        Tell what counts now, for a node that is in ``normal`` operation or not.

        While both it and a sibling are, what waits there is posted within moments and nothing is said of it.
        """
        news = self.read()
        nodes = tuple(
            node for node in news.nodes if node.count > 0 and not (normal and node.normal)
        )
        unheard = None if normal else self._unheard(news)
        if not nodes and unheard is None:
            return NO_NEWS
        return NewsMoment(version=self._version, nodes=nodes, unheard=unheard)

    def _unheard(self, news: SiblingNews) -> MayMiss | None:
        since: list[datetime] = []
        blind = self._seen is None
        for node in news.nodes:
            age = self.age_seconds(node, news)
            if age is None or node.observed_at is None or node.unlisted:
                blind = True
            elif age > HEARD_SECONDS:
                since.append(node.observed_at)
        if not blind and not since:
            return None
        return MayMiss(why="unheard", since=None if blind else min(since))

    def missed(self, moment: NewsMoment, account_id: str, known: Collection[str]) -> MayMiss | None:
        """Tell what of an account may be missed where the payments ``known`` are known; None where nothing is."""
        waiting = max((self._unknown(node, account_id, known) for node in moment.nodes), default=0)
        return MayMiss(why="waiting", payments=waiting) if waiting else moment.unheard

    def _unknown(self, node: NodeNews, account_id: str, known: Collection[str]) -> int:
        """Count an account's payments that wait at a sibling and are not among those known."""
        there = 0
        while there < PAYMENTS_MAX and is_marked(
            node.marks, self._marker.account(account_id, there + 1)
        ):
            there += 1
        if not there:
            return 0
        marker = self._marker
        here = sum(is_marked(node.marks, marker.payment(account_id, id_)) for id_ in known)
        return max(0, there - here)
