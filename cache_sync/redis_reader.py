"""
A node's copy of a shard in a Redis, read: an account's documents and where they stand, in one question.

Whatever is not as this node wrote it is not used. That something is not there proves nothing: a Redis may have dropped
a key to make room, so only the snapshot on the disk decides that an account or a document does not exist.
"""

from collections.abc import Callable, Sequence
from typing import Final

from cache_sync.body_dictionaries import knows_dictionary
from cache_sync.clock import Clock
from cache_sync.documents import CREDENTIAL, Document
from cache_sync.errors import DamagedSnapshot, RedisLost, RedisUnavailable
from cache_sync.packed_bodies import read_facts
from cache_sync.redis_layout import RedisLayout, RedisState, parse_field
from cache_sync.redis_link import RedisLink, Reply
from cache_sync.replica import from_microseconds
from cache_sync.replica_reader import ReplicaState

_GENERATIONS_MAX: Final = 2


class RedisReading:
    """One account, or one credential, at one barrier."""

    def __init__(self, state: ReplicaState, documents: Sequence[Document]) -> None:
        self._state = state
        self.by_name = {(one.account_id, one.kind, one.key): one for one in documents}

    def state(self) -> ReplicaState:
        """Return where this state stands and its age when it was read."""
        return self._state

    def document(self, account_id: str, kind: str, key: str = "") -> Document | None:
        """Return one document of what was asked for."""
        return self.by_name.get((account_id, kind, key))

    def documents(self, account_id: str, kind: str) -> list[Document]:
        """Return the account's documents of one kind, in the order of their keys."""
        found = [one for name, one in self.by_name.items() if name[:2] == (account_id, kind)]
        return sorted(found, key=lambda one: one.key)

    def credential(self, key: str) -> Document | None:
        """Return the credential under a `sign_in_key`, whatever account it is filed under: the newest."""
        found = [
            one for name, one in self.by_name.items() if name[1] == CREDENTIAL and name[2] == key
        ]
        return max(found, key=lambda one: one.seq, default=None)


class RedisReader:
    """
    Reads one shard out of one Redis; one per process, synchronous, one question a look-up.

    Args:
        link: To the Redis; used by nobody else at the same time.
        layout: Where the shard lies.
        clock: What ages and deadlines are measured on.
        seconds: How long a look-up may take.

    Raises (all of its methods):
        RedisUnavailable: No answer in time.
        RedisLost: Nothing is held there.
        DamagedSnapshot: What is held there is not what this node wrote.
    """

    def __init__(
        self, link: RedisLink, layout: RedisLayout, *, clock: Clock, seconds: float
    ) -> None:
        self._link = link
        self._layout = layout
        self._clock = clock
        self._seconds = seconds
        self._generation = ""

    @property
    def connected(self) -> bool:
        """Whether a look-up would find a connection; without one it makes one, which may take long."""
        return self._link.connected

    def connect(self) -> None:
        """Make a new connection, and see that a look-up over it is answered in time and that something is held."""
        self._link.close()
        self._link.ask(("PING",))
        self.state()

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def account(self, account_id: str) -> RedisReading:
        """Read an account; empty where it is not held."""
        state, found = self._read(lambda generation: self._layout.account(generation, account_id))
        documents = []
        for field, value in found:
            name = parse_field(field)
            document = name and self._layout.unpack(account_id, *name, value)
            if not document:
                raise DamagedSnapshot("a document there is not as it was written")
            documents.append(_readable(document))
        return RedisReading(state, documents)

    def credential(self, key: str) -> RedisReading:
        """Read what is held under a `sign_in_key`; empty where nothing is."""
        state, found = self._read(lambda generation: self._layout.credential(generation, key))
        documents = []
        for owner, value in found:
            account_id = owner.decode(errors="replace")
            document = self._layout.unpack(account_id, CREDENTIAL, key, value)
            if document is None:
                raise DamagedSnapshot("a credential there is not as it was written")
            documents.append(_readable(document))
        return RedisReading(state, documents)

    def state(self) -> ReplicaState:
        """Ask where the copy stands."""
        (value,) = self._link.ask(("GET", self._layout.state), seconds=self._seconds)
        return self._shown(self._unpack(value))

    def _read(self, name: Callable[[str], bytes]) -> tuple[ReplicaState, list[tuple[bytes, bytes]]]:
        begun = self._clock.boot_seconds()
        for _ in range(_GENERATIONS_MAX):
            left = self._seconds - (self._clock.boot_seconds() - begun)
            generation = self._generation
            # Both at one moment: that the state names this generation says that what is read of it is whole.
            *_, together = self._link.ask(
                ("MULTI",),
                ("GET", self._layout.state),
                ("HGETALL", name(generation)),
                ("EXEC",),
                seconds=left,
            )
            if not isinstance(together, list) or len(together) != 2:  # noqa: PLR2004 - one answer a question
                raise RedisUnavailable("it does not answer both questions")
            state = self._unpack(together[0])
            if state.generation == generation:
                return self._shown(state), _pairs(together[1])
            self._generation = state.generation
        raise RedisUnavailable("its generations change too fast")

    def _unpack(self, value: Reply) -> RedisState:
        if value is None:
            raise RedisLost("nothing is held there")
        state = self._layout.unpack_state(value) if isinstance(value, bytes) else None
        if state is None:
            raise DamagedSnapshot("the state there is not as it was written")
        return state

    def _shown(self, state: RedisState) -> ReplicaState:
        # On another boot's clock the time since cannot be told: the age is at least what it was.
        here = state.boot_id == self._clock.boot_id()
        since = max(0.0, self._clock.boot_seconds() - state.asked_boot_seconds) if here else 0.0
        return ReplicaState(
            epoch=state.epoch,
            shard=state.shard,
            cursor=state.cursor,
            head=state.cursor,
            floor=state.floor,
            as_of=from_microseconds(state.as_of_us),
            age_seconds=state.age_seconds + since,
            at_least=state.at_least or not here,
        )


def _pairs(fields: Reply) -> list[tuple[bytes, bytes]]:
    if not isinstance(fields, list) or len(fields) % 2:
        # Another kind of key stands where an account belongs.
        raise DamagedSnapshot("an account there is not as it was written")
    words = [word for word in fields if isinstance(word, bytes)]
    if len(words) != len(fields):
        raise DamagedSnapshot("an account there is not as it was written")
    return list(zip(words[::2], words[1::2], strict=True))


def _readable(document: Document) -> Document:
    # A worker of this release may read what the mirror of a later one has written.
    if not knows_dictionary(read_facts(document.body or b"").dictionary):
        raise DamagedSnapshot("a document there is packed by another release")
    return document
