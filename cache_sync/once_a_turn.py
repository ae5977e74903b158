"""
What is looked at once for all the requests that wait together, instead of once for each.

A server under load finds many requests at hand whenever its event loop comes round. All of them had arrived before the
loop turned to the first: what is looked at then is as new to the last of them as a look of its own would be.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class OnceATurn(Generic[T]):
    """
    Keeps what was made until everything that waited for the event loop at that moment has run.

    Requests reach an application through the loop's queue, which is first in, first out. The end of what is kept is put
    into that queue *before* it is made. So whoever still gets it had arrived before it was made, and whoever arrives
    afterwards, even in answer to something sent meanwhile, gets another one.

    Args:
        make: Looks, without waiting. What it raises is raised, and nothing kept.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: tuple[T] | None = None

    def get(self) -> T:
        """Return what was made in this turn; made now where nothing was. Only within a running event loop."""
        if self._made is None:
            asyncio.get_running_loop().call_soon(self._forget)
            self._made = (self._make(),)
        return self._made[0]

    def _forget(self) -> None:
        self._made = None
