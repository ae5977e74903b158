"""
Documents on their way out: what a transaction will publish when it ends.

They are kept until the last step of the transaction, because a shard's seqs are held from the first one that is taken
to the commit: whoever takes them early keeps every other writer waiting. Nothing but the commit comes after.

Of an account whose customer was forgotten nothing is published ever again, whoever asks for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from cache_sync.frames import Position
from cache_sync.publication import Change, Name, locate, publish_all
from cache_sync.shards import fleet_account, shard_names, shard_of
from cache_sync.sql import Connection
from core_cis.erasures import erased_among

FLEET = ""
"""The fleet's own documents belong to no account."""

_FIND = "SELECT 1 FROM documents WHERE account_id = ? AND kind = ? AND key = ?"


class Outgoing:
    """
    The changed documents of one transaction.

    Args:
        connection: In its write transaction.
        shard_count: How many shards the core has.
    """

    def __init__(self, connection: Connection, shard_count: int) -> None:
        self._connection = connection
        self._shard_count = shard_count
        self._changes: dict[Name, Change] = {}
        # What each change replaced, newest last, so that a part of the transaction can be undone alone.
        self._replaced: list[tuple[Name, Change | None]] = []
        self._located: set[Name] = set()
        self._positions: dict[Name, Position] = {}

    def put(self, change: Change) -> None:
        """Publish a document's new state at the end, in place of what was put before; withdraw a forgotten one's."""
        self._replaced.append((change.name, self._changes.get(change.name)))
        self._changes[change.name] = change

    def locate(self, name: Name) -> None:
        """Have `position` tell where a document stands after the end, changed or not."""
        self._located.add(name)

    def is_known(self, name: Name) -> bool:
        """Tell whether a document is published, or has ever been, or will be."""
        if name in self._changes:
            return True
        return self._connection.execute(_FIND, name).fetchone() is not None

    @contextmanager
    def part(self) -> Iterator[None]:
        """Run a block whose changes are dropped when it raises."""
        mark = len(self._replaced)
        try:
            yield
        except BaseException:
            while len(self._replaced) > mark:
                name, before = self._replaced.pop()
                if before is None:
                    del self._changes[name]
                else:
                    self._changes[name] = before
            raise

    def flush(self) -> bool:
        """Publish what was put, and tell whether anything was; only the commit may follow."""
        changes: dict[str, list[Change]] = {}
        shown = [change for change in self._changes.values() if change.body is not None]
        named = {change.name.account_id for change in shown}
        erased = erased_among(self._connection, named - {FLEET})
        for change in self._changes.values():
            body = None if change.name.account_id in erased else change.body
            for shard, name in self._places(change.name):
                changes.setdefault(shard, []).append(change._replace(name=name, body=body))
        # In one order everywhere, so that two transactions never wait for each other.
        for shard in sorted(changes, key=int):
            published = publish_all(self._connection, shard, changes[shard])
            for name, seq in published.seqs.items():
                self._positions[name] = Position(published.epoch, shard, seq)
        for name in self._located - self._positions.keys():
            shard = shard_of(name.account_id, self._shard_count)
            found = locate(self._connection, shard, [name])
            self._positions[name] = Position(found.epoch, shard, found.seqs[name])
        return bool(changes)

    def position(self, name: Name) -> Position:
        """Tell where a document stands that was put or located; after the end of the transaction."""
        return self._positions[name]

    def _places(self, name: Name) -> list[tuple[str, Name]]:
        # They are in every shard, before all that needs them.
        if name.account_id == FLEET:
            return [
                (shard, name._replace(account_id=fleet_account(shard)))
                for shard in shard_names(self._shard_count)
            ]
        return [(shard_of(name.account_id, self._shard_count), name)]
