"""
Sending single items together, without lingering: what gathers while a request is on its way leaves with the next.

Also the bulkhead of the calls that it makes: requests in flight and items waiting are bounded.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from failover.errors import NotSent

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Waiting(NamedTuple, Generic[Item, Result]):
    item: Item
    answer: asyncio.Future[Result]


class Batcher(Generic[Item, Result]):
    """
    Sends items in batches through ``send``, which returns one result for each, in order, or raises for all of them.

    Used from one event loop.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        batch_max: int = 64,
        in_flight_max: int = 4,
        waiting_max: int = 2048,
    ) -> None:
        self._send = send
        self._batch_max = batch_max
        self._in_flight_max = in_flight_max
        self._waiting_max = waiting_max
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._requests: set[asyncio.Task[None]] = set()

    async def submit(self, item: Item) -> Result:
        """
        Send an item with whatever else is waiting, and return its own result. A caller that goes away undoes nothing.

        Raises:
            NotSent: Too many are waiting already; nothing left this node.
            FailoverError: As ``send`` raised it for the batch.
        """
        if len(self._waiting) >= self._waiting_max:
            raise NotSent("too many requests wait for this node")
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(item, answer))
        self._start()
        return await answer

    async def close(self) -> None:
        """Wait for the requests in flight; each has its own deadline."""
        while self._requests:
            await asyncio.wait(self._requests)

    def _start(self) -> None:
        while self._waiting and len(self._requests) < self._in_flight_max:
            size = min(self._batch_max, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(size)]
            request = asyncio.create_task(self._request(batch))
            self._requests.add(request)
            request.add_done_callback(self._finished)

    def _finished(self, request: asyncio.Task[None]) -> None:
        self._requests.discard(request)
        self._start()

    async def _request(self, batch: list[_Waiting[Item, Result]]) -> None:
        try:
            results = await self._send([waiting.item for waiting in batch])
        except asyncio.CancelledError as error:
            self._fail(batch, error)
            raise
        except Exception as error:  # noqa: BLE001 — it belongs to those who wait, whatever it is
            self._fail(batch, error)
        else:
            for waiting, result in zip(batch, results, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(result)

    @staticmethod
    def _fail(batch: list[_Waiting[Item, Result]], error: BaseException) -> None:
        for waiting in batch:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)
                # Whoever waited may be gone; its error is no news to anybody else.
                waiting.answer.exception()
