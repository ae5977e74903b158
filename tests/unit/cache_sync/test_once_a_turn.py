"""What is looked at once a turn is never older than the arrival of who gets it."""

import asyncio
from itertools import count

import pytest

from cache_sync.once_a_turn import OnceATurn


async def test_those_who_wait_together_share_one_look() -> None:
    """All of them were there before the first of them looked."""
    looks = count(1)
    shared = OnceATurn(lambda: next(looks))

    async def ask() -> int:
        return shared.get()

    assert await asyncio.gather(*(ask() for _ in range(20))) == [1] * 20
    assert await asyncio.gather(*(ask() for _ in range(20))) == [2] * 20


async def test_who_comes_after_the_look_gets_another() -> None:
    """Also in the same turn, in answer to something that was sent in it, and from another thread."""
    loop = asyncio.get_running_loop()
    world = [0]
    shared = OnceATurn(lambda: world[0])
    got: list[int] = []
    done = asyncio.Event()

    def answered() -> None:
        got.append(shared.get())
        done.set()

    def ask() -> None:
        got.append(shared.get())
        # What was asked for has been answered, and somebody who has the answer changes the world and asks.
        world[0] += 1
        loop.call_soon_threadsafe(answered)

    loop.call_soon(ask)
    await done.wait()
    assert got == [0, 1]


async def test_one_who_arrives_while_it_is_looked_gets_another() -> None:
    """His wish may be newer than what the look has seen."""
    loop = asyncio.get_running_loop()
    looks = count(1)
    got: list[int] = []
    done = asyncio.Event()

    def late() -> None:
        got.append(shared.get())
        done.set()

    def look() -> int:
        if not got:
            loop.call_soon_threadsafe(late)
        return next(looks)

    shared = OnceATurn(look)
    got.append(shared.get())
    await done.wait()
    assert got == [1, 2]


async def test_a_look_that_fails_is_not_kept() -> None:
    """The next one looks again, in the same turn."""
    looks = count(1)

    def look() -> int:
        if (found := next(looks)) == 1:
            raise OSError("away")
        return found

    shared = OnceATurn(look)
    with pytest.raises(OSError, match="away"):
        shared.get()
    assert shared.get() == 2
    assert shared.get() == 2
