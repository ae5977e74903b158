"""Documents are asked from whoever has the newer ones, and what is passed on never goes back."""

import asyncio
from datetime import timedelta
from random import Random

import pytest

from cache_sync.errors import EpochChanged, FeedUnavailable, Forked, InvalidFrame, SyncError
from edge_portal.upstreams import Upstreams
from tests.unit.edge_portal.edge_world import HandClock
from tests.unit.edge_portal.upstream_world import NOON, SETTINGS, Following, Node


async def test_the_preferred_is_asked_while_it_brings_something() -> None:
    """Nobody else is even looked at."""
    me = Following("core", "east")
    await me.ask_for(30)
    assert me.name == "core"
    assert (me.nodes["core"].looked, me.nodes["east"].looked) == (0, 0)
    assert not me.errors


@pytest.mark.parametrize("how", ["silent", "stopped"])
async def test_another_one_is_asked_when_nothing_new_comes(how: str) -> None:
    """Whether it does not answer or answers with what is known already, after a few seconds."""
    me = Following("core", "east")
    await me.ask_for(5)
    core = me.nodes["core"]
    if how == "silent":
        core.trouble = FeedUnavailable("no answer")
    else:
        core.stop()
    await me.ask_for(SETTINGS.silent_seconds + 2)
    assert me.upstreams.path == ["east", "core"]
    before = me.newest
    await me.ask_for(3)
    assert me.newest > before


async def test_a_stale_one_is_not_followed() -> None:
    """With the core dead the others know no more; asking them makes nothing newer, and it is said why."""
    me = Following("core", "east")
    await me.ask_for(5)
    me.nodes["east"].stop()
    await me.ask_for(1)
    me.nodes["core"].trouble = FeedUnavailable("no answer")
    held = me.newest
    await me.ask_for(30)
    assert me.newest == held
    assert me.name == "core"
    assert set(me.errors) == {"FeedUnavailable"}


async def test_documents_that_are_missing_here_are_fetched_from_a_sibling() -> None:
    """Though its T is hardly newer; a T alone that is a moment newer is not worth it."""
    me = Following("core", "east", "west")
    await me.ask_for(5)
    core, east, west = me.nodes.values()
    core.trouble = FeedUnavailable("no answer")
    me.clock.seconds += 0.2
    east.stop()
    west.stop()
    await me.ask_for(6)
    assert me.name == "core"
    assert me.cursor == 10
    west.head = 11
    await me.ask_for(3)
    assert me.name == "west"
    assert me.cursor == 11


async def test_the_preferred_is_returned_to_when_it_has_been_well_for_a_while() -> None:
    """Not at once, and later each time that it failed again soon."""
    me = Following("core", "east")
    core = me.nodes["core"]
    waits = []
    for _ in range(3):
        await me.ask_for(5)
        core.trouble = FeedUnavailable("no answer")
        await me.ask_for(SETTINGS.silent_seconds + 3)
        assert me.name == "east"
        core.trouble = None
        begun = me.clock.seconds
        while me.name != "core":
            await me.ask()
        waits.append(me.clock.seconds - begun)
    assert waits[0] >= SETTINGS.return_after_seconds
    assert waits == sorted(waits)
    assert waits[2] >= 2 * waits[0]
    assert me.newest[1] == me.nodes["core"].as_of


async def test_a_sibling_that_is_a_moment_behind_the_core_is_returned_to() -> None:
    """What comes through it is always a little older than what the core says itself; that is well enough."""
    me = Following("east", "core")
    east = me.nodes["east"]
    await me.ask_for(5)
    east.trouble = FeedUnavailable("no answer")
    await me.ask_for(6)
    assert me.name == "core"
    east.trouble = None
    for second in range(60):
        east.lag_seconds = 0.7
        east.head = 10 - second % 3 % 2
        await me.ask_for(1)
    assert me.name == "east"


async def test_a_preferred_one_that_flickers_is_not_returned_to() -> None:
    """The time that it has to be well begins anew with every silence."""
    me = Following("core", "east")
    core = me.nodes["core"]
    await me.ask_for(5)
    core.trouble = FeedUnavailable("no answer")
    await me.ask_for(6)
    for second in range(60):
        core.trouble = FeedUnavailable("no answer") if second % 3 else None
        await me.ask_for(1)
    assert me.name == "east"


async def test_a_new_node_begins_with_a_sibling_while_the_core_is_away() -> None:
    """It does not wait for a silence: it has nothing to lose."""
    me = Following("core", "east")
    me.nodes["core"].trouble = FeedUnavailable("no answer")
    me.nodes["east"].stop()
    await me.ask(0.0)
    await me.ask(0.1)
    assert me.cursor == 10
    assert me.newest == (1, me.nodes["east"].as_of)


async def test_nobody_is_followed_who_follows_this_node() -> None:
    """Directly or through others; one that begins to is left again."""
    me = Following("core", "east", "west")
    core, east, west = me.nodes.values()
    await me.ask_for(5)
    core.trouble = FeedUnavailable("no answer")
    east.path = ["west", "me", "core"]
    await me.ask_for(6)
    assert me.name == "west"
    west.path = ["me", "core"]
    await me.ask_for(3)
    assert me.name == "core"


async def test_a_preferred_one_that_follows_this_node_is_left() -> None:
    """Though it answers, and is asked first by order."""
    me = Following("east", "core")
    await me.ask_for(5)
    assert me.upstreams.path == ["east", "core"]
    me.nodes["east"].path = ["me", "core"]
    await me.ask_for(5)
    assert me.upstreams.path == ["core"]
    me.nodes["east"].path = ["core"]
    await me.ask_for(SETTINGS.return_after_seconds + 4)
    assert me.name == "east"


async def test_a_sibling_behind_the_cursor_is_not_asked() -> None:
    """Nor one in an older epoch, however new its T is said to be."""
    me = Following("core", "east", "west")
    core, east, west = me.nodes.values()
    east.head = 9
    west.epoch = 0
    await me.ask_for(5)
    core.trouble = FeedUnavailable("no answer")
    await me.ask_for(20)
    assert (east.asked, west.asked) == (0, 0)
    east.head = 12
    await me.ask_for(3)
    assert me.cursor == 12


async def test_the_newer_of_two_siblings_is_asked() -> None:
    """The order of preference decides only between those that are about as new."""
    me = Following("core", "east", "west")
    core, east, _ = me.nodes.values()
    await me.ask_for(5)
    core.trouble = FeedUnavailable("no answer")
    east.stop()
    await me.ask_for(8)
    assert me.name == "west"
    east.stopped_at = None
    me.nodes["west"].stop()
    await me.ask_for(8)
    assert me.name == "east"


async def test_a_catch_up_begun_with_one_is_not_finished_with_one_that_is_behind() -> None:
    """Its rows may have moved to above the other one's head: it begins again from what is held."""
    me = Following("core", "east")
    core, east = me.nodes.values()
    east.head = 8
    core.pages = 3
    for _ in range(3):
        await me.ask(0.1)
    assert me.cursor == 3
    core.trouble = FeedUnavailable("no answer")
    await me.ask_for(4)
    assert "InvalidFrame" in me.errors
    assert me.cursor == 3
    # Whereas a follower that begins anew may have what the other one holds.
    me.cursor, me.epoch = 0, 0
    await me.ask(0.1)
    assert me.cursor == 8


async def test_a_catch_up_is_finished_with_one_that_is_as_far() -> None:
    """Nothing that was fetched is fetched again, though that one's T is a moment older."""
    me = Following("core", "east")
    core, east = me.nodes.values()
    core.pages = 3
    me.clock.seconds += 1
    east.stop()
    for _ in range(3):
        await me.ask(0.1)
    core.trouble = FeedUnavailable("no answer")
    await me.ask_for(4)
    assert me.cursor == 10
    assert "InvalidFrame" not in me.errors


async def test_older_answers_are_not_passed_on() -> None:
    """An upstream whose T is before the one that is shown is behind; the snapshot is not doubted for it."""
    me = Following("core")
    await me.ask_for(5)
    me.nodes["core"].stopped_at = 1.0
    assert await me.ask() is None
    assert me.errors == ["Behind"]


async def test_what_was_held_before_a_restart_binds() -> None:
    """A node that starts again shows nothing older than it showed."""
    held = (1, NOON + timedelta(seconds=2000))
    me = Following("core", "east", newest=held)
    me.cursor, me.epoch = 10, 1
    await me.ask_for(10)
    assert me.errors
    assert me.newest == held


@pytest.mark.parametrize("error", [EpochChanged(2), Forked(4)])
async def test_what_the_core_says_of_the_cursor_is_heard(error: SyncError) -> None:
    """Another epoch or a fork is the follower's to act on, also when the core was away meanwhile."""
    me = Following("core", "east")
    core = me.nodes["core"]
    await me.ask_for(5)
    core.trouble = FeedUnavailable("no answer")
    await me.ask_for(6)
    assert me.name == "east"
    core.trouble = error
    await me.ask_for(SETTINGS.return_after_seconds + 5)
    assert me.name == "core"
    assert type(error).__name__ in me.errors


async def test_a_core_of_an_older_epoch_does_not_take_the_place_of_a_sibling() -> None:
    """It was restored from something older than what is held here."""
    me = Following("core", "east")
    core, east = me.nodes.values()
    core.epoch = east.epoch = 2
    await me.ask_for(5)
    core.trouble = FeedUnavailable("no answer")
    await me.ask_for(6)
    core.trouble = EpochChanged(1)
    await me.ask_for(20)
    assert me.name == "east"


async def test_a_sibling_in_a_newer_epoch_is_heard() -> None:
    """It learnt of it from the core, which is away for us."""
    me = Following("core", "east")
    core, east = me.nodes.values()
    await me.ask_for(5)
    core.trouble = FeedUnavailable("no answer")
    east.epoch, east.head = 2, 3
    await me.ask_for(4)
    assert me.name == "east"


async def test_one_whose_answers_are_refused_again_and_again_is_left() -> None:
    """What it sends cannot be applied: somebody else is asked for a while."""
    me = Following("core", "east")
    await me.ask_for(5)
    for _ in range(SETTINGS.refusals_max + 1):
        me.cursor = 4
        await me.ask()
    await me.ask_for(2)
    assert me.name == "east"


async def test_one_alone_is_asked_again_and_again() -> None:
    """There is nobody else to look at; a node of a tree says when its upstream hears nothing."""
    me = Following("east")
    await me.ask_for(5)
    assert me.upstreams.path == ["east", "core"]
    me.nodes["east"].stop()
    await me.ask_for(5)
    assert set(me.errors) == {"FeedUnavailable"}
    me.nodes["east"].stopped_at = None
    assert await me.ask() is not None


async def test_two_that_prefer_each_other_do_not_stay_in_a_circle() -> None:
    """One of them, or both, soon ask the core again, and what they show moves on."""
    clock = HandClock()
    core = Node("core", clock)
    east, west = Node("east", clock), Node("west", clock)
    ends: dict[str, tuple[Node, Upstreams]] = {}
    for seed, (own, other) in enumerate(((east, west), (west, east))):
        ends[own.name] = (
            own,
            Upstreams(own.name, [other, core], clock=clock, rng=Random(seed), settings=SETTINGS),
        )
        own.stop()
    for _ in range(200):
        clock.seconds += 0.25
        for own, upstreams in ends.values():
            own.path = upstreams.path
            try:
                frame = await upstreams.fetch(10, 1, 100, 0.5)
            except (FeedUnavailable, InvalidFrame):
                continue
            finally:
                for _ in range(5):
                    await asyncio.sleep(0)
            own.stopped_at = max((frame.as_of - NOON).total_seconds(), own.stopped_at or 0.0)
        if clock.seconds > 1010:
            for own, _ in ends.values():
                assert own.stopped_at is not None
                assert clock.seconds - own.stopped_at < 8
