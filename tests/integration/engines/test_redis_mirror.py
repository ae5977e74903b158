"""The copy in a Redis follows the snapshot on the disk, through everything that a Redis can do."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cache_sync.errors import DamagedSnapshot, RedisLost, RedisUnavailable
from cache_sync.publication import Name
from cache_sync.redis_layout import field_of
from cache_sync.redis_mirror import read_mirror_status
from cache_sync.redis_replica import RedisReplica
from cache_sync.repairs import Repair
from tests.integration.engines.mirror_world import LINK_SECONDS, MirrorWorld
from tests.integration.engines.redis_servers import RedisCluster, RedisServer


@pytest.fixture
async def world(tmp_path: Path, own_redis: RedisServer) -> AsyncIterator[MirrorWorld]:
    """Return a world on a Redis of its own, everything at the core's head."""
    made = MirrorWorld(tmp_path, own_redis.url)
    made.core.fill(5)
    await made.follow()
    await made.mirror_until("following")
    yield made
    await made.close()


async def test_it_follows_barrier_by_barrier(world: MirrorWorld) -> None:
    """New, changed and deleted documents and mere heartbeats arrive; another generation is not needed for it."""
    world.check()
    core = world.core
    core.commit([(("account-1", "payment", "p"), None), (("account-2", "payment", "q"), b"2")])
    await world.follow()
    assert world.check().cursor < core.head
    await world.mirror_until("following")
    assert world.check().cursor == core.head
    before = world.reader.state().as_of
    world.clock.advance(10)
    await world.follow()
    await world.mirror_until("following")
    after = world.check()
    assert after.as_of > before
    assert world.mirror.status.built == 1
    status = read_mirror_status(world.directory)
    assert status is not None
    assert (status.phase, status.cursor) == ("following", core.head)


async def test_nothing_of_a_forgotten_account_is_left(
    world: MirrorWorld, own_redis: RedisServer
) -> None:
    """Its fields are deleted, and with the last one the key: no value in the Redis has its name or its documents."""
    secret = b'"Ada Example, 12 Mill Road"'
    names = [("account-7", "account", ""), ("account-7", "statement", "st-1")]
    world.core.commit([(name, secret) for name in names])
    await world.follow()
    await world.mirror_until("following")
    assert everything(own_redis).count(secret) == len(names)
    assert b"account-7" in everything(own_redis)
    world.core.commit([(name, None) for name in names])
    await world.follow()
    await world.mirror_until("following")
    world.check()
    assert secret not in everything(own_redis)
    assert b"account-7" not in everything(own_redis)
    assert b"account-1" in everything(own_redis)


def everything(redis: RedisServer) -> bytes:
    """Read all keys of a Redis with their fields and values."""
    found: list[object] = []
    keys = redis.ask("KEYS", "*")
    assert isinstance(keys, list)
    for key in keys:
        assert isinstance(key, bytes)
        is_hash = "hash" in str(redis.ask("TYPE", key))
        value = redis.ask("HGETALL" if is_hash else "GET", key)
        found += [key, *(value if isinstance(value, list) else [value])]
    return b"\n".join(each for each in found if isinstance(each, bytes))


async def test_the_label_is_never_younger_than_the_disks(world: MirrorWorld) -> None:
    """T and age of the copy are those of the snapshot, counted on the same clock."""
    world.clock.advance(20)
    with world.local.read() as view:
        disk = view.state()
    replica = RedisReplica(world._link(5.0), world.layout, clock=world.clock)
    replica.held()
    copied = replica.state
    assert copied is not None
    age = copied.age_seconds + world.clock.boot_seconds() - copied.asked_boot_seconds
    assert disk.age_seconds <= age <= disk.age_seconds + 1
    assert not copied.at_least


async def test_a_long_catch_up_is_built_beside(tmp_path: Path, redis: RedisServer) -> None:
    """More rows than one script may hold: readers stay at the old barrier until the new generation is whole."""
    world = MirrorWorld(tmp_path, redis.url, page_rows=2, tail_rows_max=4)
    world.core.fill(4)
    await world.follow()
    await world.mirror_until("following")
    old = world.check()
    world.core.fill(8, b"new")
    await world.follow()
    while world.mirror.status.built == 1:
        assert world.check().cursor in {old.cursor, world.core.head}
        await world.mirror.step()
    assert world.check().cursor == world.core.head
    await world.mirror_until("following")
    keys = redis.ask("KEYS", "*")
    assert isinstance(keys, list)
    assert len(keys) == 1 + 8, "the old generation was removed"
    await world.close()


@pytest.mark.parametrize("how", ["flushed", "restarted empty"])
async def test_what_is_gone_is_built_anew_from_the_disk(
    world: MirrorWorld, own_redis: RedisServer, how: str
) -> None:
    """A flush or a restart is noticed by itself, and the core hears nothing of it."""
    questions = len(world.client.questions)
    if how == "flushed":
        own_redis.ask("FLUSHALL")
    else:
        own_redis.restart()
    with pytest.raises(RedisUnavailable):
        world.reader.account("account-1")
    world.clock.advance(1)
    # Heartbeats come from the feed twice a second: the next one finds out.
    await world.follow()
    questions = len(world.client.questions) - questions
    await world.mirror_until("following")
    assert world.check().cursor == world.core.head
    assert world.mirror.status.built == 2
    assert world.mirror.status.lost + (how != "flushed") >= 1
    assert questions == 1


async def test_an_older_copy_is_continued(world: MirrorWorld, own_redis: RedisServer) -> None:
    """A Redis that came back with an older barrier (a saved file, a failover) is brought on, not built anew."""
    own_redis.ask("SAVE")
    old = world.check().cursor
    world.core.fill(3, b"later")
    await world.follow()
    await world.mirror_until("following")
    own_redis.restart()
    with pytest.raises(RedisUnavailable):
        world.reader.state()
    assert world.check().cursor == old
    world.core.fill(1, b"last")
    await world.follow()
    await world.mirror_until("following")
    assert world.check().cursor == world.core.head
    assert world.mirror.status.built == 1


async def test_a_flush_under_a_build_is_noticed(tmp_path: Path, redis: RedisServer) -> None:
    """What a flush took of an unfinished generation is never swapped in half."""
    world = MirrorWorld(tmp_path, redis.url, page_rows=2)
    world.core.fill(8)
    await world.follow()
    for _ in range(3):
        await world.mirror.step()
    assert world.mirror.status.phase == "building"
    redis.ask("FLUSHALL")
    with pytest.raises(RedisLost):
        world.reader.state()
    await world.mirror_until("following")
    assert world.check().cursor == world.core.head
    assert world.mirror.status.lost == 1
    await world.close()


async def test_a_hung_redis_holds_up_one_question_for_its_deadline(
    world: MirrorWorld, own_redis: RedisServer
) -> None:
    """The mirror says that it cannot reach it, waits longer every time, and goes on when it answers again."""
    own_redis.freeze()
    world.core.fill(2, b"x")
    await world.follow()
    begun = world._links[0]._clock.boot_seconds()
    delays = [await world.mirror.step() for _ in range(3)]
    assert world.mirror.status.phase == "unreachable"
    assert world._links[0]._clock.boot_seconds() - begun < 3 * LINK_SECONDS + 1
    assert delays[2] > delays[0] / 2
    own_redis.thaw()
    await world.mirror_until("following")
    assert world.check().cursor == world.core.head
    assert world.mirror.status.built == 1


async def test_a_full_redis_keeps_its_barrier(world: MirrorWorld, own_redis: RedisServer) -> None:
    """Without memory nothing is applied in part; with memory it goes on, and what was begun is not in the way."""
    old = world.check().cursor
    own_redis.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    own_redis.ask("CONFIG", "SET", "maxmemory", "1")
    world.core.fill(3, b"more")
    await world.follow()
    await world.mirror_until("full")
    assert world.check().cursor == old
    own_redis.ask("CONFIG", "SET", "maxmemory", "0")
    await world.mirror_until("following")
    assert world.check().cursor == world.core.head


async def test_a_new_epoch_is_built_beside(world: MirrorWorld) -> None:
    """After a restore of the core the copy is replaced whole, as the snapshot was."""
    world.core.enter_epoch(2, head=3)
    await world.follow()
    assert world.check().epoch == 1
    await world.mirror_until("following")
    assert (world.check().epoch, world.check().cursor) == (2, 3)


async def test_rows_that_rotted_on_the_disk_are_not_copied(
    world: MirrorWorld, own_redis: RedisServer
) -> None:
    """A damaged row does not sum up with the others: no copy is made of it before it has been put right."""
    name = Name("account-1", "payment", "p")
    with world.local.read() as view:
        found = view.document(*name)
    writer = world.follower._writer
    assert found is not None
    assert writer is not None
    writer._connection.execute(
        "UPDATE documents SET body = x'22' WHERE account_id = ?", (name.account_id,)
    )
    own_redis.ask("FLUSHALL")
    for _ in range(20):
        world.clock.advance(await world.mirror.step())
    assert (world.mirror.status.phase, world.mirror.status.reason) == ("building", "hash")
    with pytest.raises(RedisLost):
        world.reader.state()
    repair = Repair(name=name, seq=found.seq, replacement=found)
    assert world.follower.put_right(1, [repair]) == 1
    await world.follow()
    await world.mirror_until("following")
    assert world.check().cursor == world.core.head


@pytest.mark.parametrize("what", ["a row", "an account", "the state", "the state's kind"])
async def test_what_others_wrote_is_not_read_and_does_not_last(
    world: MirrorWorld, own_redis: RedisServer, what: str
) -> None:
    """Another's bytes are never shown; the next change there makes the mirror build anew."""
    state = world.mirror._replica.state
    assert state is not None
    account = world.layout.account(state.generation, "account-1")
    if what == "a row":
        own_redis.ask("HSET", account, field_of("payment", "p"), b"\0" * 36 + b'{"balance": 0}')
    elif what == "an account":
        own_redis.ask("SET", account, "nonsense")
    elif what == "the state":
        own_redis.ask("SET", world.layout.state, "nonsense")
    else:
        own_redis.ask("DEL", world.layout.state)
        own_redis.ask("LPUSH", world.layout.state, "nonsense")
    with pytest.raises((DamagedSnapshot, RedisUnavailable)):
        world.reader.account("account-1")
    world.core.commit([(("account-1", "payment", "p"), b"changed")])
    await world.follow()
    await world.mirror_until("following")
    assert world.check().cursor == world.core.head
    assert world.mirror.status.built == 2


async def test_rows_of_another_node_or_place_are_not_read(
    world: MirrorWorld, own_redis: RedisServer
) -> None:
    """A row is only good where it was put: neither another account's nor another document's passes."""
    state = world.mirror._replica.state
    assert state is not None
    one, two = (world.layout.account(state.generation, f"account-{number}") for number in (1, 2))
    row = own_redis.ask("HGET", one, field_of("payment", "p"))
    assert isinstance(row, bytes)
    own_redis.ask("HSET", two, field_of("payment", "p"), row)
    with pytest.raises(DamagedSnapshot):
        world.reader.account("account-2")
    own_redis.ask("HSET", one, field_of("payment", "z"), row)
    with pytest.raises(DamagedSnapshot):
        world.reader.account("account-1")


async def test_the_node_with_the_slot_is_found(tmp_path: Path, cluster: RedisCluster) -> None:
    """Asked at the wrong node, reader and mirror go to the one that has the shard's slot."""
    for node in cluster.nodes:
        folder = tmp_path / str(node.port)
        folder.mkdir()
        world = MirrorWorld(folder, node.url)
        world.core.fill(3)
        await world.follow()
        await world.mirror_until("following")
        assert world.check().cursor == 3
        await world.close()
