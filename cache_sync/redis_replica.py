"""
A node's copy of a shard in a Redis, written: rows, cursor, hashes and as-of time move together, and only at barriers.

What is written last is compared before anything is written: after a flush, a restart, a failover, or when anybody else
wrote there, nothing fits and nothing is changed (`RedisLost`). One script compares, checks the live hash and writes:
readers see the barrier before or the one after it.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from cache_sync.clock import Clock
from cache_sync.errors import (
    DamagedSnapshot,
    InvalidFrame,
    RedisFull,
    RedisLost,
    RedisUnavailable,
)
from cache_sync.frame_guards import Held, check_follows, check_live
from cache_sync.frames import CheckedFrame
from cache_sync.redis_layout import LAYOUT_FORMAT, RedisLayout, RedisState, pack_rows
from cache_sync.redis_link import Command, RedisLink, RedisRefusal, Reply
from cache_sync.replica import to_microseconds
from cache_sync.row_hash import add_hashes

_MASK: Final = (1 << 64) - 1
_LOW: Final = (1 << 32) - 1
SWEPT_KEYS: Final = 1000
_TAKES_NOTHING: Final = frozenset({"OOM", "MISCONF"})
_NOT_LET_IN: Final = frozenset({"NOAUTH", "NOPERM"})

# KEYS: the guard, then the hashes. ARGV: what the guard holds, what it shall hold, the rows, and (at a barrier) by how
# much the live hash (upper and lower half) and the number of live rows must move. All that can fail fails in the first
# half, which changes nothing. Numbers are doubles here, so that 64 bits are added in two halves.
_APPLY: Final = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return {'lost'} end
local rows, writes, count = ARGV[3], {}, 0
local high, low, live, at = 0, 0, 0, 1
while at <= #rows do
  local place, beside, seq1, seq0, hash1, hash0, field, owner, value
  place, beside, seq1, seq0, hash1, hash0, field, owner, value, at =
    struct.unpack('>I4I4I4I4I4I4I4c0I4c0I4c0', rows, at)
  local old = redis.call('HGET', KEYS[place], field)
  if beside > 0 then redis.call('HEXISTS', KEYS[beside], owner) end
  local newer = true
  if old then
    local old1, old0, _, was1, was0 = struct.unpack('>I4I4I4I4I4', old)
    newer = seq1 > old1 or (seq1 == old1 and seq0 > old0)
    if newer then high, low, live = high - was1, low - was0, live - 1 end
  end
  if newer and (old or #value > 0) then
    if #value > 0 then high, low, live = high + hash1, low + hash0, live + 1 end
    count = count + 1
    writes[count] = {place, field, beside, owner, value}
  end
end
if ARGV[4] then
  local rest = low % 4294967296
  local moved = (high + (low - rest) / 4294967296) % 4294967296
  if moved ~= tonumber(ARGV[4]) or rest ~= tonumber(ARGV[5]) or live ~= tonumber(ARGV[6]) then
    return {'hash', live}
  end
end
for i = 1, count do
  local place, field, beside, owner, value = unpack(writes[i])
  if #value > 0 then
    redis.call('HSET', KEYS[place], field, value)
    if beside > 0 then redis.call('HSET', KEYS[beside], owner, value) end
  else
    redis.call('HDEL', KEYS[place], field)
    if beside > 0 then redis.call('HDEL', KEYS[beside], owner) end
  end
end
redis.call('SET', KEYS[1], ARGV[2])
return {'ok', live, high, low}
"""
# KEYS: state, build. ARGV: what they hold, and the new state.
_ADOPT: Final = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] or redis.call('GET', KEYS[2]) ~= ARGV[2] then
  return {'lost'}
end
redis.call('SET', KEYS[1], ARGV[3])
redis.call('DEL', KEYS[2])
return {'ok'}
"""


class RedisReplica:
    """
    The only writer of one shard in one Redis.

    Args:
        link: To the Redis; used by nobody else at the same time.
        layout: Where the shard lies.
        clock: Names the boot that ages are measured in.

    Raises (all of its methods):
        RedisUnavailable: No answer in time: whether it was done will show when `held` is asked again.
        RedisLost: Something else is held than was written last; nothing was changed. Ask `held`.
        RedisFull: It takes nothing more; nothing was changed.
        DamagedSnapshot: What is held is not what was written; nothing was changed. Only a new generation helps.
    """

    def __init__(self, link: RedisLink, layout: RedisLayout, *, clock: Clock) -> None:
        self._link = link
        self._layout = layout
        self._clock = clock
        self._state: RedisState | None = None
        self._written = b""

    @property
    def state(self) -> RedisState | None:
        """What was last read or written; None for nothing that can be continued."""
        return self._state

    def held(self) -> Held:
        """Ask for the replica's place in the feed; epoch 0 and cursor 0 for none."""
        (found,) = self.ask(("GET", self._layout.state))
        if isinstance(found, RedisRefusal):
            # Somebody put another thing where the state belongs.
            self.ask(("UNLINK", self._layout.state))
            found = None
        self._written = found if isinstance(found, bytes) else b""
        self._state = self._layout.unpack_state(self._written)
        return self._held()

    def _held(self) -> Held:
        if self._state is None:
            return Held(self._layout.shard, 0, 0, 0, None)
        return self._state.held

    def apply(self, frames: Sequence[CheckedFrame], asked_boot_seconds: float) -> int:
        """
        Apply consecutive frames that end at a barrier, at once; return the number of rows.

        As `ReplicaWriter.apply`: everything becomes visible together or nothing does, a heartbeat moves only as-of and
        age.

        Raises:
            InvalidFrame: A frame does not fit; nothing was changed.
        """
        state, barrier = self._state, frames[-1]
        if not barrier.barrier:
            raise InvalidFrame("barrier", "readers see barrier states only")
        if state is None:
            raise RedisLost("there is nothing to continue")
        held = state.held
        for frame in frames:
            check_follows(frame, held)
            held = held._replace(cursor=frame.upto)
        moved = moved_state(state, barrier, asked_boot_seconds, self._clock)
        rows = [row for frame in frames for row in frame.rows]
        packed = self._layout.pack_state(moved)
        keys, blob = pack_rows(self._layout, state.generation, rows)
        expected = moved_hash(state.live_hash, barrier.live_hash)
        live = barrier.live_rows - state.live_rows
        answer = self.run(
            _APPLY,
            [self._layout.state, *keys],
            [self._written, packed, blob, expected >> 32, expected & _LOW, live],
        )
        if answer[0] == b"hash":
            raise InvalidFrame("hash", "the live rows there do not sum up to those here")
        self._state, self._written = moved, packed
        return sum(frame.count for frame in frames)

    def begin(self, generation: str) -> "RedisBuild":
        """Begin another generation beside the one that is read; one that was begun before is given up."""
        self.held()
        return RedisBuild(self, self._layout, generation, clock=self._clock)

    def adopt(self, built: bytes, state: RedisState) -> None:
        """Send readers to a finished generation: one write."""
        packed = self._layout.pack_state(state)
        layout = self._layout
        self.run(_ADOPT, [layout.state, layout.build], [self._written, built, packed])
        self._state, self._written = state, packed

    def sweep(self, cursor: int, keep: set[str]) -> int:
        """
        Remove some keys of generations that nobody reads, lazily; return where to go on, 0 at the end.

        Args:
            cursor: Where to go on; 0 at the beginning.
            keep: Generations to keep beside the current one.
        """
        kept = keep if self._state is None else keep | {self._state.generation}
        pattern = self._layout.prefix + b"*"
        (answer,) = self.ask(("SCAN", cursor, "MATCH", pattern, "COUNT", SWEPT_KEYS))
        if not isinstance(answer, list) or not isinstance(answer[0], bytes):
            raise RedisUnavailable("it lists no keys")
        names = [name for name in answer[1] or [] if isinstance(name, bytes)]  # type: ignore[union-attr]
        stale = [
            name
            for name in names
            if (generation := self._layout.generation_of(name)) is not None
            and generation not in kept
        ]
        if stale:
            self.ask(("UNLINK", *stale))
        return int(answer[0])

    # Asking

    def ask(self, *commands: Command) -> list[Reply]:
        """Ask the Redis; it takes more or it is said."""
        replies = self._link.ask(*commands)
        for code in (reply.code for reply in replies if isinstance(reply, RedisRefusal)):
            if code in _TAKES_NOTHING:
                raise RedisFull(f"{self._link.address}: {code}")
            if code in _NOT_LET_IN:
                raise RedisUnavailable(f"{self._link.address}: {code}")
        return replies

    def run(self, script: str, keys: Sequence[bytes], arguments: Command) -> list[Reply]:
        """
        Run a script.

        Raises:
            DamagedSnapshot: It met what was never written there; nothing was changed.
        """
        called = [str(len(keys)), *keys, *arguments]
        (answer,) = self.ask(("EVALSHA", _digest(script), *called))
        if isinstance(answer, RedisRefusal) and answer.code == "NOSCRIPT":
            (answer,) = self.ask(("EVAL", script, *called))
        if not isinstance(answer, list):
            code = answer.code if isinstance(answer, RedisRefusal) else "?"
            raise DamagedSnapshot(f"{self._link.address} holds what was never written: {code}")
        if answer[0] == b"lost":
            raise RedisLost(f"{self._link.address} holds something else")
        return answer


class RedisBuild:
    """A generation under construction, from the beginning of the feed; see `SnapshotBuild`."""

    def __init__(
        self, replica: RedisReplica, layout: RedisLayout, generation: str, *, clock: Clock
    ) -> None:
        self.generation = generation
        self._replica = replica
        self._layout = layout
        self._clock = clock
        self._floor_max: int | None = None
        self._state = empty_state(layout.shard, generation)
        self._written = self._mark()
        replica.ask(("SET", layout.build, self._written))
        self._finished = False

    @property
    def cursor(self) -> int:
        """How far it is."""
        return self._state.cursor

    def _mark(self) -> bytes:
        return f"{self.generation} {self._state.cursor}".encode()

    def add(self, frame: CheckedFrame, asked_boot_seconds: float) -> int:
        """
        Add the next frame; return the number of rows.

        Raises:
            InvalidFrame: It does not fit, or floor or epoch have moved under the build.
            RedisLost: What was written is gone: the build cannot be finished.
        """
        check_follows(frame, self._state.held._replace(as_of=None))
        if self._floor_max is None:
            self._floor_max = frame.head
        if frame.floor > self._floor_max:
            raise InvalidFrame("floor", "deletes were forgotten while the copy was built")
        before, state = self._written, self._state
        self._state = msgspec.structs.replace(state, epoch=frame.epoch, cursor=frame.upto)
        keys, blob = pack_rows(self._layout, self.generation, frame.rows)
        after = self._mark()
        answer = self._replica.run(_APPLY, [self._layout.build, *keys], [before, after, blob])
        live, high, low = (number for number in answer[1:] if isinstance(number, int))
        self._written = after
        self._state = msgspec.structs.replace(
            self._state,
            live_hash=add_hashes(state.live_hash, [(high << 32) + low]),
            live_rows=state.live_rows + live,
        )
        if frame.barrier:
            check_live(frame, self._state.live_hash, self._state.live_rows)
            self._state = moved_state(self._state, frame, asked_boot_seconds, self._clock)
            self._finished = True
        return frame.count

    def adopt(self) -> None:
        """Send readers to it, once it has reached its barrier."""
        assert self._finished, "readers see barrier states only"
        self._replica.adopt(self._written, self._state)


def empty_state(shard: str, generation: str) -> RedisState:
    """Return the state of a generation that holds nothing yet."""
    return RedisState(
        format=LAYOUT_FORMAT,
        shard=shard,
        generation=generation,
        epoch=0,
        cursor=0,
        floor=0,
        live_hash=0,
        live_rows=0,
        chain=b"",
        seal=b"",
        as_of_us=0,
        asked_boot_seconds=0.0,
        age_seconds=0.0,
        at_least=True,
        boot_id="",
    )


def moved_state(state: RedisState, barrier: CheckedFrame, asked: float, clock: Clock) -> RedisState:
    """
    Return the state at the next barrier.

    The same T again never makes it look younger: it is an answer that came twice.
    """
    moved = msgspec.structs.replace(
        state,
        epoch=barrier.epoch,
        cursor=barrier.upto,
        floor=max(state.floor, barrier.floor),
        live_hash=barrier.live_hash,
        live_rows=barrier.live_rows,
        chain=barrier.chain,
        seal=barrier.seal,
    )
    as_of_us, boot_id = to_microseconds(barrier.as_of), clock.boot_id()
    closed = asked - barrier.age_seconds
    older = boot_id == state.boot_id and closed < state.asked_boot_seconds - state.age_seconds
    if as_of_us < state.as_of_us or (as_of_us == state.as_of_us and not older):
        return moved
    return msgspec.structs.replace(
        moved,
        as_of_us=as_of_us,
        asked_boot_seconds=asked,
        age_seconds=barrier.age_seconds,
        at_least=barrier.age_at_least,
        boot_id=boot_id,
    )


def moved_hash(before: int, after: int) -> int:
    """Tell by how much a live hash moves, modulo 2^64."""
    return (after - before) & _MASK


def _digest(script: str) -> str:
    # Redis names scripts so; nothing is protected by it.
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
