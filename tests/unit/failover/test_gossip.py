"""What waits at one edge is known, in short, at all others, directly or through another; and told by nobody else."""

import asyncio
import logging
from pathlib import Path

import msgspec
import pytest

from failover.gossip import MARKS_BYTES_MAX, hash_marks
from failover.marks import BYTES_MAX, pack_marks
from failover.peer_messages import Hello, Summary
from failover.sibling_news import NewsReader, NodeNews, SiblingNews
from failover.signing import Signer
from tests.unit.failover.world import FLEET_KEY, Node, World, live

NAMES = ("east", "north", "south", "west")
ACCOUNT = "A-1"


def outage(world: World) -> None:
    """Take the core away from everybody."""
    for node in world.nodes.values():
        node.core_wire.state = "cut"


def part(world: World, one: str, *others: str) -> None:
    """Cut an edge off from others, both ways."""
    for other in others:
        world[one].peer_wires[other].state = world[other].peer_wires[one].state = "cut"


def missed(node: Node, *known: str, account_id: str = ACCOUNT) -> tuple[str, int] | None:
    """Tell what a node may miss of an account whose payments it knows: why, and how many."""
    reader = NewsReader(node.news, fleet_key=FLEET_KEY, clock=node.world.clock)
    found = reader.missed(reader.moment(normal=node.world.normal), account_id, known)
    return None if found is None else (found.why, found.payments)


def heard(node: Node) -> SiblingNews:
    """Read what a node wrote down."""
    return msgspec.msgpack.decode(node.news.read_bytes(), type=SiblingNews)


def test_everybody_learns_what_waits_and_nobody_more_than_that(tmp_path: Path) -> None:
    """
    An edge without a copy may miss the payment until it knows it; another account misses nothing.

    What is told names neither account nor payment, and ends when the core has decided.
    """

    async def story(world: World) -> None:
        outage(world)
        east = world["east"]
        paid = await east.submission.pay(world.wish("k", account_id=ACCOUNT))
        assert paid.state == "accepted"
        await asyncio.sleep(4)
        witness = east.peers.choose(ACCOUNT)[0]
        for name in NAMES:
            holder, holds = world[name].holder, name in {"east", witness}
            assert holder is not None
            assert missed(world[name]) == ("waiting", 1), name
            assert missed(world[name], paid.intent_id) is None
            assert missed(world[name], account_id="A-2") is None
            assert bool(world[name].journal.reader.receipt(ACCOUNT, paid.intent_id)) is holds
            told = msgspec.msgpack.encode(holder.hello("stranger"))
            assert ACCOUNT.encode() not in told
            assert paid.intent_id.encode() not in told
        for node in world.nodes.values():
            node.core_wire.state = "up"
        await asyncio.sleep(25)
        assert [missed(node) for node in world.nodes.values()] == [None] * 4

    live(tmp_path, story, names=NAMES)


def test_nothing_is_said_while_the_core_answers_everybody(tmp_path: Path) -> None:
    """In normal operation what waits is posted within moments; at an edge that is not, it may be missed everywhere."""

    async def story(world: World) -> None:
        outage(world)
        await world["east"].submission.pay(world.wish("k", account_id=ACCOUNT))
        world.normal = True
        await asyncio.sleep(4)
        assert [missed(node) for node in world.nodes.values()] == [None] * 4

    live(tmp_path, story, names=NAMES)


def test_it_is_passed_on_around_a_cut(tmp_path: Path) -> None:
    """An edge that reaches one other hears of all; cut off from that too, it says since when it knows nothing."""

    async def story(world: World) -> None:
        outage(world)
        part(world, "west", "east", "south")
        paid = await world["east"].submission.pay(world.wish("k", account_id=ACCOUNT))
        assert paid.state == "accepted"
        await asyncio.sleep(6)
        west = world["west"]
        assert missed(west) == ("waiting", 1)
        ages = {
            node.node_id: world.clock.boot_seconds() - (node.heard_at or 0)
            for node in heard(west).nodes
        }
        assert max(ages.values()) < 10, ages
        part(world, "west", "north")
        await asyncio.sleep(20)
        assert missed(west, paid.intent_id) is None
        await asyncio.sleep(20)
        assert missed(west, paid.intent_id) == ("unheard", 0)
        assert missed(west) == ("waiting", 1)
        world.expelled = {"east", "north", "south"}
        await asyncio.sleep(2)
        assert missed(west) is None

    live(tmp_path, story, names=NAMES)


def test_nothing_was_heard_yet_is_said_too(tmp_path: Path) -> None:
    """An edge that starts alone knows nothing of the others."""

    async def story(world: World) -> None:
        part(world, "west", "east")
        outage(world)
        await world["west"].crash()
        world["west"].news.unlink()
        world["west"].start()
        await asyncio.sleep(2)
        assert missed(world["west"]) == ("unheard", 0)

    live(tmp_path, story)


def test_what_another_did_not_sign_is_not_believed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A sibling can pass on what others said, cannot make it up, and cannot make old news look new."""

    async def story(world: World) -> None:
        west = world["west"]
        part(world, "west", "east")
        await asyncio.sleep(5)
        genuine = next(told for told in _told(world["north"]) if told.node_id == "east")
        marks = pack_marks([1, 2, 3])
        invented = msgspec.structs.replace(
            genuine,
            count=3,
            marks_hash=hash_marks(marks),
            observed_at=world.clock.now(),
        )
        forged = Signer(world["north"].signing_key).sign_summary(invented)
        for told in (invented, forged):
            hello = Hello(
                node_id="north", incarnation="i", summaries=[told], marks={told.marks_hash: marks}
            )
            await asyncio.sleep(4)
            west.gossip.hear("north", hello, asked_at=world.clock.boot_seconds())
            assert _known(west, "east").count == 0
        newest = _known(west, "east")
        west.gossip.hear(
            "north",
            Hello(node_id="north", incarnation="i", summaries=[genuine]),
            asked_at=world.clock.boot_seconds(),
        )
        west.gossip.write_down()
        assert _known(west, "east") == newest
        stranger = msgspec.structs.replace(forged, node_id="stranger")
        west.gossip.hear(
            "north", Hello(node_id="north", incarnation="i", summaries=[stranger]), asked_at=0.0
        )
        west.gossip.write_down()
        assert [node.node_id for node in heard(west).nodes] == ["east", "north"]

    with caplog.at_level(logging.ERROR):
        live(tmp_path, story, names=("east", "north", "west"))


def test_sets_that_are_not_what_they_are_called_are_not_taken(tmp_path: Path) -> None:
    """Whatever a sibling says of itself must agree with itself; what it said before stays."""

    async def story(world: World) -> None:
        west = world["west"]
        (told,) = [one for one in _told(world["east"]) if one.node_id == "east"]
        other = msgspec.structs.replace(told, count=9, marks_hash="0" * 16)
        for marks in (b"", b"short", bytes(64)):
            hello = Hello(
                node_id="east", incarnation="i", summaries=[other], marks={"0" * 16: marks}
            )
            west.gossip.hear("east", hello, asked_at=world.clock.boot_seconds())
        west.gossip.write_down()
        assert _known(west, "east").count == 0

    live(tmp_path, story)


def test_an_answer_is_bounded_and_says_nothing_twice(tmp_path: Path) -> None:
    """Thousands of payments are a few kilobytes, and a set that the asker has is not sent again."""

    async def story(world: World) -> None:
        outage(world)
        east = world["east"]
        await east.submission.pay(world.wish("k"))
        await asyncio.sleep(2)
        summaries, marks = east.gossip.tell(())
        assert {told.marks_hash for told in summaries} == set(marks)
        assert all(len(one) <= BYTES_MAX for one in marks.values())
        assert sum(map(len, marks.values())) <= MARKS_BYTES_MAX
        again, none = east.gossip.tell(set(marks))
        assert again == summaries
        assert none == {}

    live(tmp_path, story)


def _told(node: Node) -> list[Summary]:
    return node.gossip.tell(())[0]


def _known(node: Node, peer: str) -> NodeNews:
    node.gossip.write_down()
    return next(told for told in heard(node).nodes if told.node_id == peer)
