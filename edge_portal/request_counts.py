"""Requests counted as they are answered, and written down once a turn: files that workers share are slow to write."""

import asyncio
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Sequence
from typing import Any

from prometheus_client import Counter, Histogram

_Answer = tuple[str, int]


class ManyAtOnce(Histogram):
    """A histogram that takes many observations at the price of a few."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe each of the amounts."""
        self._sum.inc(sum(amounts))
        # A bucket's bound belongs to it.
        buckets = Tally(bisect_left(self._upper_bounds, amount) for amount in amounts)
        for bucket, count in buckets.items():
            self._buckets[bucket].inc(count)


class RequestCounts:
    """
    Counts what one process answers.

    What is counted in one turn of its event loop is written down when the turn ends.

    Args:
        requests: By route and status.
        seconds: How long they took.
    """

    def __init__(self, requests: Counter, seconds: ManyAtOnce) -> None:
        self._requests = requests
        self._all_seconds = seconds
        self._counters: dict[_Answer, Any] = {}
        self._answers: list[_Answer] = []
        self._seconds: list[float] = []

    def answered(self, route: str, status: int) -> None:
        """Count an answer that has begun; the route is its template, so that ids stay out of metrics."""
        self._write_down_soon()
        self._answers.append((route, status))

    def took(self, seconds: float) -> None:
        """Count how long an answer took."""
        self._write_down_soon()
        self._seconds.append(seconds)

    def _write_down_soon(self) -> None:
        if not self._answers and not self._seconds:
            asyncio.get_running_loop().call_soon(self.write_down)

    def write_down(self) -> None:
        """Write down what was counted."""
        for answer, count in Tally(self._answers).items():
            counter = self._counters.get(answer)
            if counter is None:
                route, status = answer
                counter = self._counters[answer] = self._requests.labels(route, str(status))
            counter.inc(count)
        self._answers.clear()
        if self._seconds:
            self._all_seconds.observe_all(self._seconds)
            self._seconds.clear()
