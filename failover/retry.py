"""
Repeating a call that may be repeated, in one place: with jitter, a deadline, a budget, and only for the errors named.

For reads, and for writes that carry their own id. One layer retries, never two. Built on tenacity, whose defaults
repeat for ever without waiting, look at the real clock and can swallow a cancellation; none of them is used.
"""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from cache_sync.clock import Clock
from failover.errors import NodeError, NotSent, Overloaded
from failover.retry_budget import RetryBudget

T = TypeVar("T")


class RetrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    How often and how long: at most ``attempts`` within ``deadline_seconds``, the first included.

    The wait before an attempt is drawn between 0 and ``wait_seconds``, doubled each time up to ``wait_seconds_max``; a
    node's own "retry after" is waited for where it is longer. A wait that would pass the deadline is not begun.
    """

    attempts: int = 3
    deadline_seconds: float = 2.0
    wait_seconds: float = 0.1
    wait_seconds_max: float = 2.0


async def retrying(
    call: Callable[[], Awaitable[T]],
    *,
    clock: Clock,
    rng: random.Random,
    budget: RetryBudget,
    settings: RetrySettings | None = None,
    errors: tuple[type[NodeError], ...] = (NotSent, Overloaded),
) -> T:
    """
    Await ``call()`` again while it raises one of ``errors``; raises the last of them in the end.

    Nor is it called again when ``budget`` has no retry left. By default only what certainly was not done is repeated.
    Pass `Ambiguous` too where a repetition changes nothing.
    """
    chosen = settings or RetrySettings()
    started = clock.boot_seconds()
    budget.tried()

    def wait(state: RetryCallState) -> float:
        longest = min(
            chosen.wait_seconds_max, chosen.wait_seconds * 2.0 ** (state.attempt_number - 1)
        )
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, Overloaded) else None
        return max(asked or 0.0, rng.uniform(0.0, longest))

    def stop(state: RetryCallState) -> bool:
        used = clock.boot_seconds() - started
        would_end = used + (state.upcoming_sleep or 0.0)
        over = state.attempt_number >= chosen.attempts or would_end >= chosen.deadline_seconds
        return over or not budget.take()

    repeat = AsyncRetrying(
        sleep=clock.sleep,
        wait=wait,
        stop=stop,
        retry=retry_if_exception_type(errors),
        reraise=True,
    )

    # Handed a plain function that returns an awaitable, tenacity would return it without awaiting it.
    async def once() -> T:
        return await call()

    return await repeat(once)
