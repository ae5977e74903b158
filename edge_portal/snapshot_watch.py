"""
What holds at this moment, cheap enough to ask for with every request: where the snapshot is, how old, what has moved.

A worker keeps answers for as long as nothing that they were made from has changed. This tells whether it has.
"""

from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from cache_sync.clock import Clock
from cache_sync.documents import STATEMENT
from cache_sync.replica_reader import ReplicaReader, ReplicaState
from edge_portal.portal import SETTLED_SHOWN
from edge_portal.snapshot import read_account
from failover.intents import Receipt


class WatchedJournal(Protocol):
    """What is needed of `failover.journal_reader`."""

    def version(self) -> "JournalVersion":
        """Return what changes with every commit; None before there is a journal. Raises `JournalError`."""
        ...

    def receipts(self, account_id: str, *, settled_since: datetime) -> list[Receipt]:
        """Return the receipts of an account that are shown. Raises `JournalError`."""
        ...


JournalVersion = tuple[int, int] | None
Place = tuple[object, int, int]
"""Which snapshot file, its epoch and its cursor: while they stay, so do all documents, but for repairs."""


class Moment(NamedTuple):
    """
    Where the snapshot and the journal are now.

    ``age_seconds`` is as of T's age at this moment; ``journal`` changes with every commit to the journal.
    """

    place: Place
    state: ReplicaState
    age_seconds: float
    journal: JournalVersion

    @property
    def core_now(self) -> datetime:
        """The core's clock, estimated."""
        return self.state.as_of + timedelta(seconds=self.age_seconds)


class AccountFacts(NamedTuple):
    """
    What an account's answers are made from, in short: two that are equal were made from the same.

    ``documents`` are the newest seq and the number of the account's documents, tombstones too: every change of one
    moves it to a new seq, every deletion leaves one.
    """

    documents: tuple[int, int]
    receipts: tuple[Receipt, ...]


class SnapshotWatch:
    """
    Looks at a worker's snapshot and journal.

    Args:
        snapshot: The worker's own reader.
        journal: The worker's own reader.
        clock: What ages are measured on.
    """

    def __init__(self, snapshot: ReplicaReader, journal: WatchedJournal, clock: Clock) -> None:
        self._snapshot = snapshot
        self._journal = journal
        self._clock = clock
        self._version: object = None
        self._state: ReplicaState | None = None
        self._read_at = 0.0
        self._place: Place = (None, 0, 0)

    def look(self) -> Moment:
        """
        Tell where everything is now.

        Raises:
            NoSnapshot: There is none yet.
            DamagedSnapshot: It cannot be read.
            StorageFailed: The disk refused.
            JournalError: The journal cannot be read.
        """
        version = self._snapshot.version()
        state = self._state
        if state is None or version != self._version:
            # The version was asked first: what is committed in between is found by the next look.
            with self._snapshot.read() as view:
                state = view.state()
            self._read_at = self._clock.boot_seconds()
            self._state, self._version = state, version
            self._place = (version[0], state.epoch, state.cursor)
        age = state.age_seconds + self._clock.boot_seconds() - self._read_at
        return Moment(self._place, state, age, self._journal.version())

    def timezone(self, account_id: str) -> str:
        """Tell the zone that an account's days are in. Raises as `look` does."""
        with self._snapshot.read() as view:
            account = read_account(view, account_id)
        return account.timezone if account is not None else "UTC"

    def holds_statement(self, account_id: str, statement_id: str) -> bool:
        """Tell whether a bill is this node's own, not one of the core's archive. Raises as `look` does."""
        with self._snapshot.read() as view:
            return view.document(account_id, STATEMENT, statement_id) is not None

    def facts(self, account_id: str) -> AccountFacts:
        """Tell what an account's answers are made from now. Raises as `look` does."""
        with self._snapshot.read() as view:
            documents = view.account_mark(account_id)
            since = view.state().as_of - SETTLED_SHOWN
        return AccountFacts(
            documents, tuple(self._journal.receipts(account_id, settled_since=since))
        )
