"""Where blocking work runs; a simulator keeps it on its own loop."""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

_ResultT = TypeVar("_ResultT")


class Offload(Protocol):
    """Runs a blocking call without holding up the event loop, one that may take seconds."""

    async def __call__(self, work: Callable[[], _ResultT]) -> _ResultT:
        """Run it and return its result."""
        ...


async def in_thread(work: Callable[[], _ResultT]) -> _ResultT:
    """Run the call in the event loop's thread pool."""
    return await asyncio.to_thread(work)


async def inline(work: Callable[[], _ResultT]) -> _ResultT:
    """Run the call here and now: for a simulator, where nothing may happen at the same time."""
    return work()
