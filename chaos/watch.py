"""Looking at every edge's status through a drill, several times a second."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from chaos.customers import Answer, EdgeClient
from chaos.history import History, StatusSample

STATUS_SECONDS_MAX = 1.0
EVERY_SECONDS = 0.25


def _instant(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return None


def _breaker(value: object) -> str:
    return str(value.get("state", "")) if isinstance(value, dict) else str(value or "")


def read_sample(edge: str, answer: Answer) -> StatusSample:
    """Read one answer of ``/status``; a sample without a mode when there was none."""
    if not answer.ok:
        return StatusSample(at=answer.received_at, edge=edge)
    told: dict[str, Any] = answer.members
    queue: dict[str, Any] = told.get("queue") or {}
    shards: dict[str, dict[str, Any]] = told.get("shards") or {}
    return StatusSample(
        at=answer.received_at,
        edge=edge,
        mode=str(told.get("mode", "")),
        reason=str(told.get("reason", "")),
        as_of=_instant(told.get("as_of")),
        lag_seconds=told.get("lag_seconds"),
        pending=queue.get("pending"),
        oldest_seconds=queue.get("oldest_seconds"),
        amount_cents=queue.get("amount"),
        breaker=_breaker(told.get("breaker")),
        file_refused="; ".join(
            str(shard["file_refused"]) for shard in shards.values() if shard.get("file_refused")
        ),
    )


class Watch:
    """Samples every edge until stopped; ``latest`` is what each one said last."""

    def __init__(self, edges: Sequence[EdgeClient], history: History, operator_token: str) -> None:
        self._edges = list(edges)
        self._history = history
        self._headers = {"Authorization": f"Bearer {operator_token}"}
        self._tasks: list[asyncio.Task[None]] = []
        self.latest: dict[str, StatusSample] = {}

    def start(self) -> None:
        """Begin to look."""
        self._tasks = [asyncio.ensure_future(self._look_on(edge)) for edge in self._edges]

    async def stop(self) -> None:
        """Look no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def look(self, edge: EdgeClient) -> StatusSample:
        """Ask one edge now."""
        answer = await edge.ask("GET", "/status", seconds=STATUS_SECONDS_MAX, headers=self._headers)
        sample = read_sample(edge.name, answer)
        self.latest[edge.name] = sample
        self._history.samples.append(sample)
        return sample

    async def _look_on(self, edge: EdgeClient) -> None:
        while True:
            await self.look(edge)
            await asyncio.sleep(EVERY_SECONDS)
