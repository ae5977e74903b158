"""
Accounts out of the Redis that an edge's workers share, as long as it is of use; the snapshot on the disk answers else.

A customer's request asks the Redis at most once, and waits for it at most for a deadline. The first answer that does
not come in time opens a breaker, and from then on nobody's request asks: connecting, and finding out whether it serves
again, is done in a thread beside. What is damaged, older than what the customer has seen, or older than what is on the
disk, is not shown.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Final, Literal, NamedTuple

import structlog

from cache_sync.clock import Clock
from cache_sync.documents import ACCOUNT
from cache_sync.errors import DamagedSnapshot, RedisLost, RedisUnavailable, SyncError
from cache_sync.frames import Position
from cache_sync.offload import Offload, in_thread
from cache_sync.redis_reader import RedisReader, RedisReading
from cache_sync.replica_reader import ReplicaReader, ReplicaState
from cache_sync.shards import shard_of
from edge_portal.overlay import is_behind
from edge_portal.snapshot import position_of
from failover.breaker import AsyncBreaker, BreakerSettings, BreakerState

STALE_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.1
BREAKER: Final = BreakerSettings(
    # The newest call alone decides: the disk answers as well, so nothing is lost by not asking.
    window_calls=1,
    calls_min=1,
    failure_rate=1.0,
    slow_rate=2.0,
    reset_seconds=1.0,
    reset_seconds_max=4.0,
    permits=1,
)

Answered = Literal[
    "redis", "unavailable", "open", "empty", "damaged", "missing", "behind", "stale", "failed"
]
"""Who answered: the Redis, or why the disk did."""

log = structlog.get_logger(__name__)


class SharedShard(NamedTuple):
    """One shard's copy in the Redis, and its snapshot on the disk to compare with."""

    reader: RedisReader
    local: ReplicaReader


class SharedAccounts:
    """
    Reads accounts from a Redis, or says that the disk must; from one event loop.

    Args:
        shards: The shards that this node holds.
        shard_count: How many the core has.
        clock: Time.
        rng: Where the breaker's jitter comes from.
        count: Told of every read, who answers it.
        changed: Told of how many breakers are not closed, whenever one changes.
        offload: Where the Redis is looked at while no request asks it.
    """

    def __init__(
        self,
        shards: Mapping[str, SharedShard],
        shard_count: int,
        *,
        clock: Clock,
        rng: Random,
        count: Callable[[Answered], None] = lambda _: None,
        changed: Callable[[int], None] = lambda _: None,
        offload: Offload = in_thread,
    ) -> None:
        self._shards = dict(shards)
        self._shard_count = shard_count
        self._count = count
        self._changed = changed
        self._states: dict[str, BreakerState] = {}
        self._offload = offload
        self._looked_at: str | None = None
        self.breakers = {
            shard: AsyncBreaker(
                clock=clock,
                rng=rng,
                settings=BREAKER,
                listeners=[self._teller(shard)],
                name=f"redis shard {shard}",
            )
            for shard in shards
        }

    def _teller(self, shard: str) -> Callable[[BreakerState, BreakerState], None]:
        def tell(before: BreakerState, state: BreakerState) -> None:
            # Half open is neither: it is being looked whether it serves.
            if state == "closed" or before == "closed":
                log.warning("redis reads", shard=shard, breaker=state)
            self._states[shard] = state
            self._changed(sum(one != "closed" for one in self._states.values()))

        return tell

    def reading(self, account_id: str, seen: Sequence[Position]) -> RedisReading | None:
        """
        Read an account, as it stands at one barrier; None when the disk must be asked, and never an error.

        ``seen`` are the positions that the customer has already seen: nothing before them is returned.
        """
        shard = shard_of(account_id, self._shard_count)
        shared = self._shards.get(shard)
        if shared is None:
            return None
        found, answered = self._read(shard, shared, account_id, seen)
        self._count(answered)
        return found

    def _read(
        self, shard: str, shared: SharedShard, account_id: str, seen: Sequence[Position]
    ) -> tuple[RedisReading | None, Answered]:
        breaker = self.breakers[shard]
        if shard == self._looked_at or not shared.reader.connected or not breaker.admits():
            return None, "open"
        admission = breaker.admit()
        try:
            reading = shared.reader.account(account_id)
        except DamagedSnapshot:
            breaker.settle(admission, "success")
            return None, "damaged"
        except RedisUnavailable as error:
            breaker.settle(admission, "failure")
            return None, "empty" if isinstance(error, RedisLost) else "unavailable"
        except Exception:
            # Whatever it is, a customer has nothing to do with it.
            breaker.settle(admission, "failure")
            log.exception("the redis cannot be read")
            return None, "failed"
        breaker.settle(admission, "success")
        return self._judge(reading, shared.local, account_id, seen)

    def _judge(
        self, reading: RedisReading, local: ReplicaReader, account_id: str, seen: Sequence[Position]
    ) -> tuple[RedisReading | None, Answered]:
        state = reading.state()
        if is_behind(position_of(state), seen):
            return None, "behind"
        # Without its summary an account is not whole, or is none: the disk knows.
        if reading.document(account_id, ACCOUNT) is None:
            return None, "missing"
        if (state.at_least or state.age_seconds > STALE_SECONDS) and _is_older(state, local):
            return None, "stale"
        return reading, "redis"

    # Beside the requests

    async def run(self, stop: asyncio.Event) -> None:
        """Connect, and look whether the Redis serves again, until told to stop."""
        while not stop.is_set():
            for shard, shared in self._shards.items():
                await self._look(shard, shared.reader)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await stop.wait()

    async def _look(self, shard: str, reader: RedisReader) -> None:
        breaker = self.breakers[shard]
        if reader.connected and breaker.state == "closed":
            return
        if not breaker.admits(trial_allowed=True):
            return
        admission = breaker.admit(trial_allowed=True)
        # The thread has the reader for itself meanwhile.
        self._looked_at = shard
        try:
            await self._offload(reader.connect)
        except SyncError as error:
            breaker.settle(admission, "failure")
            log.debug("the redis does not serve", why=str(error))
        except Exception:
            breaker.settle(admission, "failure")
            log.exception("the redis cannot be looked at")
        else:
            breaker.settle(admission, "success")
        finally:
            self._looked_at = None

    def close(self) -> None:
        """Close the connections."""
        for shared in self._shards.values():
            shared.reader.close()


def _is_older(state: ReplicaState, local: ReplicaReader) -> bool:
    """Tell whether the disk knows better; one that cannot be read does not."""
    try:
        with local.read() as view:
            here = view.state()
    except SyncError:
        return False
    return (here.epoch, here.as_of, here.cursor) > (state.epoch, state.as_of, state.cursor)
