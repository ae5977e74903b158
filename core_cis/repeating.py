"""Repeating a transaction that another one was in the way of: a few times, with growing, jittered waits."""

from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from cache_sync.sql import TransactionConflict

ATTEMPTS_MAX = 8
_FIRST_WAIT_SECONDS = 0.01
_WAIT_SECONDS_MAX = 0.5
_ResultT = TypeVar("_ResultT")


def repeated(once: Callable[[], _ResultT]) -> _ResultT:
    """
    Call until no other transaction is in the way; at most `ATTEMPTS_MAX` times, which takes some seconds.

    Raises:
        TransactionConflict: The last time too.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(TransactionConflict),
        stop=stop_after_attempt(ATTEMPTS_MAX),
        wait=wait_random_exponential(multiplier=_FIRST_WAIT_SECONDS, max=_WAIT_SECONDS_MAX),
        reraise=True,
    )
    return retrying(once)
