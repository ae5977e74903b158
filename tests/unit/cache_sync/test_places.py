"""Places: so many at once, and of one node no more than its part."""

import asyncio
from contextlib import ExitStack

import pytest

from cache_sync.errors import NoPlace
from cache_sync.places import Places


def test_one_node_has_its_part_and_leaves_the_others_theirs() -> None:
    """Two of three for each; given back, a place can be taken again."""
    places = Places(of_all=3, of_one=2)
    with ExitStack() as east:
        for _ in range(2):
            east.enter_context(places.take("east"))
        with pytest.raises(NoPlace), places.take("east"):
            pass
        with places.take("west"), pytest.raises(NoPlace), places.take("north"):
            pass
        with places.take("north"):
            pass
    with places.take("east"), places.take("east"):
        pass


async def test_who_waits_is_woken() -> None:
    """When one of its own is free, not when another's is."""
    places = Places(of_all=4, of_one=1)
    with ExitStack() as west:
        west.enter_context(places.take("west"))
        with places.take("east"):
            waiting = asyncio.create_task(places.free("east"))
            await asyncio.sleep(0)
            west.close()
            await asyncio.sleep(0.01)
            assert not waiting.done()
        await waiting
    with places.take("east"):
        pass
