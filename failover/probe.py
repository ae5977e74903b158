"""
Asking the core every half second whether it is there.

The only calls that test an open breaker. They also tell how long the core has been silent, which degrades the node
sooner than a breaker can be sure.
"""

import asyncio
import random
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

import msgspec
import structlog

from cache_sync.clock import Clock
from failover.breaker import AsyncBreaker
from failover.errors import BreakerOpen, NodeError, NodeRefused
from failover.signed_orders import SignedOrder

_UNAUTHORIZED: Final = 401

_log = structlog.get_logger(__name__)


class ProbeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the core answers to a probe, after a real read and a real write.

    ``edges_awaited`` says that the core was restored and takes no intent until every edge has brought back what it kept
    of the core's outcomes. ``revoked`` are the nodes that it has expelled, ``grants`` the shards of nodes that may not
    read all of them; None of a core that does not know of that. ``standin`` is this node's part of the stand-in limits,
    None where it follows them already, or no operator has set any. ``covered`` is the mark of the oldest backup that
    operators keep, empty where there is none, and ``cover`` what it holds, None where this node knows it already.
    """

    epoch: int
    head: int
    as_of: datetime
    edges_awaited: bool = False
    revoked: list[str] = []
    grants: dict[str, str] | None = None
    standin: SignedOrder | None = None
    covered: str = ""
    cover: SignedOrder | None = None


class CoreProber(Protocol):
    """Asks the core; implemented over HTTP by the edge."""

    async def probe(self, *, deadline_seconds: float) -> ProbeAnswer:
        """
        Ask once.

        Raises:
            NodeError: No answer that helps.
        """
        ...


class CoreProbe:
    """Asks again and again, feeds the breaker, remembers when the core last answered (boot clock)."""

    def __init__(
        self,
        prober: CoreProber,
        *,
        breaker: AsyncBreaker,
        clock: Clock,
        rng: random.Random,
        interval_seconds: float = 0.5,
        deadline_seconds: float = 0.8,
    ) -> None:
        self._prober = prober
        self._breaker = breaker
        self._clock = clock
        self._rng = rng
        self._interval = interval_seconds
        self._deadline = deadline_seconds
        self._answered_at: float | None = None
        self._listeners: list[Callable[[], None]] = []
        self.latest: ProbeAnswer | None = None
        self._expelled = False

    @property
    def expelled(self) -> bool:
        """Tell whether the core, when it last said anything, did not know this node: it was revoked, or never added."""
        return self._expelled

    def on_answer(self, listener: Callable[[], None]) -> None:
        """Have a function called at every answer of the core (it must not raise or wait)."""
        self._listeners.append(listener)

    def answered(self) -> None:
        """Note that the core has just answered: for other callers, whose calls are evidence too."""
        self._answered_at = self._clock.boot_seconds()
        if self._expelled:
            _log.info("the core knows this node again")
            self._expelled = False
        for listener in self._listeners:
            listener()

    def silence_seconds(self) -> float | None:
        """Tell how long ago the core last answered; None when it never did since this process started."""
        return None if self._answered_at is None else self._clock.boot_seconds() - self._answered_at

    async def ask(self) -> bool:
        """Ask once, if the breaker lets a trial out; tells whether the core answered."""
        try:
            async with self._breaker.calling(deadline_seconds=self._deadline, trial_allowed=True):
                self.latest = await self._prober.probe(deadline_seconds=self._deadline)
        except NodeRefused as refused:
            # It is alive, but this node is not welcome there: not the core's outage.
            if refused.status == _UNAUTHORIZED and not self._expelled:
                _log.error("the core does not know this node: payments are refused here")
                self._expelled = True
            return False
        except (BreakerOpen, NodeError, OSError):
            return False
        self.answered()
        return True

    async def run(self, stop: asyncio.Event) -> None:
        """Ask until ``stop`` is set."""
        while not stop.is_set():
            started = self._clock.boot_seconds()
            await self.ask()
            took = self._clock.boot_seconds() - started
            # Half open, the next trials follow at once: customers wait for the verdict.
            interval = self._interval / 10 if self._breaker.state == "half_open" else self._interval
            # Jitter, so that a fleet's probes do not fall into step.
            await self._clock.sleep(max(0.01, interval * self._rng.uniform(0.9, 1.1) - took))
