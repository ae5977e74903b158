"""
A circuit breaker for asyncio around pybreaker's state machine.

pybreaker keeps the three states and who may move between them; everything round a call is ours, because its own counts
only consecutive failures on the wall clock, takes a client's disconnect for a failure, lets everybody in when half open
and lets a late result move a later state. Only calls that say so (probes) ever test an open breaker.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec
import pybreaker
import structlog

from cache_sync.clock import Clock
from failover.errors import Ambiguous, BreakerOpen, NodeRefused, where

BreakerState = Literal["closed", "open", "half_open"]
Result = Literal["success", "failure", "neutral"]
Forced = Literal["open", "closed"]
Listener = Callable[[BreakerState, BreakerState], None]

# pybreaker would count consecutive failures; the sliding window decides instead.
_NEVER = 10**9
_STATES: dict[str, BreakerState] = {
    pybreaker.STATE_CLOSED: "closed",
    pybreaker.STATE_OPEN: "open",
    pybreaker.STATE_HALF_OPEN: "half_open",
}
_log = structlog.get_logger(__name__)


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    When the breaker opens and how it closes again.

    It opens when, of the calls of the last ``window_seconds`` (at most ``window_calls``, at least ``calls_min``), the
    share that failed or the share that took ``slow_seconds`` or longer reaches its rate. It stays open for a time
    between half of and all of ``reset_seconds``, doubled with every opening in a row up to ``reset_seconds_max``. Then
    ``permits`` trial calls at a time may try; as many successes close it, one failure or ``half_open_seconds_max``
    without a decision open it again.
    """

    window_seconds: float = 4.0
    window_calls: int = 200
    calls_min: int = 4
    failure_rate: float = 0.5
    slow_seconds: float = 0.8
    slow_rate: float = 0.5
    reset_seconds: float = 1.0
    reset_seconds_max: float = 8.0
    permits: int = 3
    half_open_seconds_max: float = 5.0


class Admission(NamedTuple):
    """A call that was let out: of which generation of the breaker, when, and whether it may take its time."""

    generation: int
    started_at: float
    patient: bool = False


class BreakerView(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator sees of a breaker; rates are shares of ``calls`` within the window."""

    state: BreakerState
    forced: Forced | None
    calls: int
    failure_rate: float
    slow_rate: float
    reset_in_seconds: float


class _Call(NamedTuple):
    at: float
    failed: bool
    slow: bool


class _BootClockStorage(pybreaker.CircuitMemoryStorage):
    """Keeps when the breaker opened on the boot clock: a wall clock set back would keep it open."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(pybreaker.STATE_CLOSED)
        self._clock = clock
        self.opened_at_boot_seconds = 0.0

    @property
    def opened_at(self) -> datetime | None:
        """Nothing reads it: when to try again is decided by `AsyncBreaker`."""
        return None

    @opened_at.setter
    def opened_at(self, _: datetime | None) -> None:
        self.opened_at_boot_seconds = self._clock.boot_seconds()


class _StateChange(pybreaker.CircuitBreakerListener):
    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self._tell = tell

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,  # noqa: ARG002 — pybreaker's signature
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        self._tell(old_state.name if old_state else pybreaker.STATE_CLOSED, new_state.name)


class AsyncBreaker:
    """
    Guards the calls of one kind to one node; used from one event loop.

    ``listeners`` are told (old state, new state); what they raise is logged and fails no call.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        rng: random.Random,
        settings: BreakerSettings | None = None,
        listeners: Iterable[Listener] = (),
        name: str = "core",
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._settings = settings or BreakerSettings()
        self._listeners = tuple(listeners)
        self._calls: deque[_Call] = deque(maxlen=self._settings.window_calls)
        self._generation = 0
        self._trials = 0
        self._openings = 0
        self._half_open_since = 0.0
        self._forced: Forced | None = None
        self._storage = _BootClockStorage(clock)
        self._machine = pybreaker.CircuitBreaker(
            fail_max=_NEVER,
            success_threshold=self._settings.permits,
            state_storage=self._storage,
            listeners=[_StateChange(self._changed)],
            name=name,
            throw_new_error_on_trip=False,
        )

    # -- what it looks like --------------------------------------------------------------------------------------------

    @property
    def state(self) -> BreakerState:
        """Tell the state; a forced breaker is what it was forced to be."""
        return self._forced or _STATES[self._machine.current_state]

    @property
    def forced(self) -> Forced | None:
        """Tell whether an operator holds it."""
        return self._forced

    def snapshot(self) -> BreakerView:
        """Describe the breaker for status pages."""
        self._forget_old()
        calls = len(self._calls)
        return BreakerView(
            state=self.state,
            forced=self._forced,
            calls=calls,
            failure_rate=sum(call.failed for call in self._calls) / calls if calls else 0.0,
            slow_rate=sum(call.slow for call in self._calls) / calls if calls else 0.0,
            reset_in_seconds=max(0.0, self._reset_in()) if self.state == "open" else 0.0,
        )

    def admits(self, *, trial_allowed: bool = False) -> bool:
        """Tell whether `admit` would let a call out now; changes nothing."""
        if self._forced is not None or self.state == "closed":
            return self.state == "closed"
        if not trial_allowed:
            return False
        if self.state == "open":
            return self._reset_in() <= 0
        return self._trials < self._settings.permits and not self._stalled()

    # -- calls ---------------------------------------------------------------------------------------------------------

    def admit(self, *, trial_allowed: bool = False, patient: bool = False) -> Admission:
        """
        Let a call out, or not; every admission must be settled once.

        A ``patient`` one is never slow: work that yields to others says nothing of how fast they are served.

        Raises:
            BreakerOpen: The call must not be made.
        """
        if self._forced == "open":
            raise BreakerOpen(f"{self._machine.name}: held open by an operator")
        if self._forced is None and self.state != "closed":
            self._admit_trial(trial_allowed=trial_allowed)
        return Admission(self._generation, self._clock.boot_seconds(), patient)

    def settle(self, admission: Admission, result: Result) -> None:
        """
        Report how an admitted call ended.

        A result of an earlier generation changes nothing: a late answer says nothing about the state since. ``neutral``
        gives a trial's permit back and counts as no call at all.
        """
        if admission.generation != self._generation:
            return
        now = self._clock.boot_seconds()
        slow = not admission.patient and now - admission.started_at >= self._settings.slow_seconds
        if self._machine.current_state == pybreaker.STATE_HALF_OPEN and self._forced is None:
            self._trials -= 1
            if result == "failure" or (result == "success" and slow):
                self._machine.open()
            elif result == "success":
                self._machine.call(lambda: None)
        elif result != "neutral":
            self._calls.append(_Call(now, result == "failure", slow))
            if self._forced is None and self._too_bad():
                self._machine.open()

    @asynccontextmanager
    async def calling(
        self,
        *,
        deadline_seconds: float | None = None,
        trial_allowed: bool = False,
        patient: bool = False,
    ) -> AsyncIterator[None]:
        """
        Guard a block that makes one call, and end it at ``deadline_seconds``.

        A refusal (`NodeRefused`) shows that the node is alive; the caller's own cancellation says nothing; everything
        else that the block raises, and the deadline, is a failure. ``patient`` as of `admit`.

        Raises:
            BreakerOpen: The block was not entered.
            Ambiguous: The deadline passed.
        """
        admission = self.admit(trial_allowed=trial_allowed, patient=patient)
        result: Result = "neutral"
        try:
            async with asyncio.timeout(deadline_seconds):
                yield
            result = "success"
        except NodeRefused:
            result = "success"
            raise
        except TimeoutError as error:
            result = "failure"
            raise Ambiguous("no answer in time") from error
        except Exception:
            result = "failure"
            raise
        finally:
            self.settle(admission, result)

    # -- operators -----------------------------------------------------------------------------------------------------

    def force(self, state: Forced | None) -> None:
        """
        Hold the breaker open (planned maintenance) or closed, whatever calls say; None lets it decide again.

        After having been held open it is half open: probes decide.
        """
        before = self._forced
        self._forced = None
        if state == "open":
            self._machine.open()
        elif state == "closed":
            self._machine.close()
        elif before == "open":
            self._machine.half_open()
        self._forced = state

    # -- inside --------------------------------------------------------------------------------------------------------

    def _admit_trial(self, *, trial_allowed: bool) -> None:
        name = self._machine.name
        if not trial_allowed:
            raise BreakerOpen(f"{name}: {self.state}, and only probes test it")
        if self.state == "open":
            if self._reset_in() > 0:
                raise BreakerOpen(f"{name}: open")
            self._machine.half_open()
        elif self._stalled():
            # Trials that never came back must not keep it half open for ever.
            self._machine.open()
            raise BreakerOpen(f"{name}: trial calls did not come back")
        if self._trials >= self._settings.permits:
            raise BreakerOpen(f"{name}: half open, all permits taken")
        self._trials += 1

    def _reset_in(self) -> float:
        waited = self._clock.boot_seconds() - self._storage.opened_at_boot_seconds
        return float(self._machine.reset_timeout) - waited

    def _stalled(self) -> bool:
        half_open_for = self._clock.boot_seconds() - self._half_open_since
        return half_open_for > self._settings.half_open_seconds_max

    def _forget_old(self) -> None:
        oldest = self._clock.boot_seconds() - self._settings.window_seconds
        while self._calls and self._calls[0].at < oldest:
            self._calls.popleft()

    def _too_bad(self) -> bool:
        self._forget_old()
        calls = len(self._calls)
        if calls < self._settings.calls_min:
            return False
        failed = sum(call.failed for call in self._calls)
        slow = sum(call.slow for call in self._calls)
        return (
            failed >= self._settings.failure_rate * calls
            or slow >= self._settings.slow_rate * calls
        )

    def _changed(self, old: str, new: str) -> None:
        self._generation += 1
        self._trials = 0
        self._calls.clear()
        if new == pybreaker.STATE_OPEN:
            self._openings += 1
            longest = min(
                self._settings.reset_seconds_max,
                self._settings.reset_seconds * 2.0 ** min(self._openings - 1, 32),
            )
            self._machine.reset_timeout = self._rng.uniform(longest / 2, longest)
        elif new == pybreaker.STATE_HALF_OPEN:
            self._half_open_since = self._clock.boot_seconds()
        else:
            self._openings = 0
        for listener in self._listeners:
            try:
                listener(_STATES[old], _STATES[new])
            except Exception as error:  # noqa: BLE001 — whatever it raises, the call stays what it was
                _log.error(
                    "a breaker's listener failed",
                    breaker=self._machine.name,
                    error=type(error).__name__,
                    frames=where(error),
                )
