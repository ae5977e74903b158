"""
Run any drill: steady state, traffic, fault, hold, heal, settle; then everything is compared.

What was seen is a `History`; what it means is for the invariants to say.
"""

import asyncio
import contextlib
import html
import re
from collections.abc import Callable
from datetime import datetime

import msgspec

from chaos.books import Books
from chaos.customers import EdgeClient, now
from chaos.drills.comparing import compare
from chaos.drills.drill import Drill, Lease, Step
from chaos.drills.stage import Keeper, Stage
from chaos.errors import ControlError, FleetError, SteadyStateError
from chaos.fleet_file import FleetFile
from chaos.history import History, Milestones, StatusSample
from chaos.traffic import Traffic
from chaos.watch import Watch
from chaos.watchdog import TTL_SECONDS, Watchdog

_POLL_SECONDS = 0.1
_RENEWALS_IN_A_LEASE = 4
_HEADING = re.compile(r'<p class="big"><b>(.*?)</b>', re.DOTALL)
_TAG = re.compile(r"<[^>]+>")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """
    How long each part takes, in seconds, and what is drawn.

    ``lease_seconds`` is how long a fault outlives a drill that does nothing any more. ``deadline_seconds`` is how long
    the fleet may take until nothing waits and every edge is normal. ``returns_max`` is how often an edge may return to
    normal within the hold.
    """

    hold_seconds: float = 30.0
    before_seconds: float = 8.0
    after_seconds: float = 5.0
    steady_seconds_max: float = 120.0
    heal_seconds_max: float = 60.0
    deadline_seconds: float = 180.0
    settle_seconds_max: float = 30.0
    lease_seconds: float = TTL_SECONDS
    returns_max: int = 1
    seed: int = 1


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A drill that was run: what was seen, what a customer's page said by phase, and why it ended early, if it did."""

    history: History
    samples: dict[str, str]
    aborted: str


class DrillRun:
    """One run of a drill against a fleet; ``say`` is told each step."""

    def __init__(
        self,
        drill: Drill,
        fleet: FleetFile,
        keeper: Keeper,
        options: Options,
        say: Callable[[str], None],
    ) -> None:
        self._drill = drill
        self._fleet = fleet
        self._keeper = keeper
        self._options = options
        self._say = say
        self._leases: list[Lease] = []
        self._held_to_the_end: list[Lease] = []
        self._samples: dict[str, str] = {}
        self._aborted = ""
        edges = [edge.name for edge in fleet.edges]
        self.history = History(
            edges=edges,
            timezone="UTC",
            milestones=Milestones(begun_at=now()),
            fault=drill.facts(edges, options.returns_max),
        )

    async def run(self) -> Outcome:
        """
        Run the drill; returns what was seen.

        Raises:
            SteadyStateError: The fleet was not well before; nothing was broken.
            ChaosError: The drill could not be carried through. What it broke is healed also then.
        """
        async with contextlib.AsyncExitStack() as open_until_the_end:
            enter = open_until_the_end.enter_async_context
            books = await enter(Books(self._fleet.core))
            edges = [await enter(EdgeClient(edge.name, edge.url)) for edge in self._fleet.edges]
            watch = Watch(edges, self.history, self._fleet.core.operator_token)
            await self._check_steady_state(books, watch, edges)
            stage = Stage(
                fleet=self._fleet,
                keeper=self._keeper,
                watchdog=await enter(Watchdog(self._options.lease_seconds)),
                history=self.history,
                edges=edges,
                say=self._say,
            )
            traffic = Traffic(self._fleet.customers, edges, self.history, seed=self._options.seed)
            stage.traffic = traffic
            if self._drill.prepare is not None:
                await self._drill.prepare(stage)
            watch.start()
            try:
                await self._break_and_heal(stage, books, watch, traffic)
            finally:
                await self._heal_what_is_left()
                await watch.stop()
            self.history.milestones.ended_at = now()
            self._say("Comparing every book")
            await compare(self.history, self._fleet.customers, books, watch, edges)
        return Outcome(history=self.history, samples=self._samples, aborted=self._aborted)

    # -- before --------------------------------------------------------------------------------------------------------

    async def _check_steady_state(
        self, books: Books, watch: Watch, edges: list[EdgeClient]
    ) -> None:
        """Wait until the fleet is well, and take down the books. Raises `SteadyStateError`."""
        self._say("Checking that the fleet is well")
        until = asyncio.get_running_loop().time() + self._options.steady_seconds_max
        while True:
            unwell = [] if await books.ready() else ["the core does not answer"]
            for edge in edges:
                sample = await watch.look(edge)
                unwell += [why for check in self._drill.steady_state if (why := check(sample))]
            if not unwell:
                break
            if asyncio.get_running_loop().time() > until:
                raise SteadyStateError(f"the fleet is not well: {'; '.join(unwell)}")
            await asyncio.sleep(_POLL_SECONDS * 5)
        reconciled = await books.reconcile()
        if reconciled.exit_code:
            found = "; ".join(reconciled.differences[:3])
            raise SteadyStateError(f"the books do not agree before the drill: {found}")
        accounts = [customer.account_id for customer in self._fleet.customers]
        self.history.ledgers_before = await books.ledgers(accounts)
        self.history.samples.clear()
        self.history.milestones.begun_at = now()

    # -- the fault -----------------------------------------------------------------------------------------------------

    async def _break_and_heal(
        self, stage: Stage, books: Books, watch: Watch, traffic: Traffic
    ) -> None:
        options, moments = self._options, self.history.milestones
        self._say(f"Traffic: {len(traffic.readers)} readers, {len(traffic.payers)} payers")
        traffic.start()
        await self._wait(options.before_seconds, traffic)
        renewing = asyncio.ensure_future(self._renew(options.lease_seconds))
        try:
            await self._rounds(stage, traffic)
            await self._sample("outage", stage, traffic)
            self._say(self._drill.healing)
            moments.healing_at = begun = now()
            await self._heal(self._leases)
            await self._wait_healed(books, watch, begun)
            moments.healed_at = now()
            self._say("Healed; waiting for the drain and for normal")
            for fault in self._drill.recovering:
                self._held_to_the_end.append(await fault.take(stage))
            await self._wait_normal(stage, watch, traffic)
            await self._heal(self._held_to_the_end)
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
        await self._wait(options.after_seconds, traffic)
        self._say("Ending traffic")
        await traffic.stop()
        await traffic.settle(seconds=options.settle_seconds_max)

    async def _rounds(self, stage: Stage, traffic: Traffic) -> None:
        """Go through the method as often as the drill says, within the hold."""
        drill, moments = self._drill, self.history.milestones
        pauses = drill.pause_seconds * (drill.rounds - 1)
        length = max(1.0, (self._options.hold_seconds - pauses) / drill.rounds)
        for number in range(drill.rounds):
            if number:
                await self._heal(self._leases)
                await self._wait(drill.pause_seconds, traffic)
            else:
                self._say(f"Now: {drill.began}")
                moments.broken_from = now()
            steps = sorted(drill.method, key=lambda step: step.after)
            for step in (one for one in steps if not one.after):
                await self._take(step, stage)
            if moments.broken_at is None:
                moments.broken_at = now()
                traffic.release_untouched()
            # Taking some faults takes time, which is none of the hold.
            begun = asyncio.get_running_loop().time()
            for step in (one for one in steps if one.after):
                due = begun + step.after * length
                await self._wait(due - asyncio.get_running_loop().time(), traffic)
                if self._aborted:
                    return
                await self._take(step, stage)
            await self._wait(begun + length - asyncio.get_running_loop().time(), traffic)
            if self._aborted:
                return

    async def _take(self, step: Step, stage: Stage) -> None:
        held = self._held_to_the_end if step.to_the_end else self._leases
        held.append(await step.fault.take(stage))

    async def _renew(self, lease_seconds: float) -> None:
        """Keep every fault in force; one that has ended before its time ends the drill."""
        while True:
            await asyncio.sleep(lease_seconds / _RENEWALS_IN_A_LEASE)
            for lease in self._all_leases():
                try:
                    await lease.renew()
                except ControlError as error:
                    if lease in self._all_leases():
                        self._abort(f"a fault has ended before its time: {error}")

    def _all_leases(self) -> list[Lease]:
        return [*self._held_to_the_end, *self._leases]

    @staticmethod
    async def _heal(leases: list[Lease]) -> None:
        """End faults, newest first. Raises `ControlError`; those left are tried again at the end."""
        while leases:
            await leases[-1].heal()
            leases.pop()

    async def _heal_what_is_left(self) -> None:
        for lease in reversed(self._all_leases()):
            # The watchdog and the proxies end it when we cannot.
            with contextlib.suppress(ControlError):
                await lease.heal()

    # -- waiting -------------------------------------------------------------------------------------------------------

    async def _wait(self, seconds: float, traffic: Traffic) -> None:
        """Let time pass; cut short when the drill has to end. Raises what ended a customer early."""
        until = asyncio.get_running_loop().time() + seconds
        while (left := until - asyncio.get_running_loop().time()) > 0 and not self._aborted:
            await asyncio.sleep(min(_POLL_SECONDS, left))
            failed = traffic.failed()
            if failed is not None:
                raise failed
            if self.history.milestones.healing_at is None:
                for abort in self._drill.aborts:
                    self._abort(abort(self.history, now()))

    def _abort(self, why: str) -> None:
        if why and not self._aborted:
            self._aborted = why
            self._say(f"Ending early: {why}")

    async def _wait_healed(self, books: Books, watch: Watch, begun: datetime) -> None:
        """Wait until the core answers, and every edge that was taken away. Raises `FleetError`."""
        until = asyncio.get_running_loop().time() + self._options.heal_seconds_max
        away = set(self.history.fault.away)
        while True:
            ready = await books.ready()
            back = {
                sample.edge
                for sample in watch.latest.values()
                if sample.mode and sample.as_of is not None and sample.at > begun
            }
            if ready and away <= back:
                return
            if asyncio.get_running_loop().time() > until:
                missing = sorted(away - back) if ready else ["the core"]
                raise FleetError(f"{', '.join(missing)} did not come back")
            await asyncio.sleep(_POLL_SECONDS)

    async def _wait_normal(self, stage: Stage, watch: Watch, traffic: Traffic) -> None:
        """Wait until nothing waits and every edge is normal; what does not happen in time is left unset."""
        moments = self.history.milestones
        begun = now()
        until = asyncio.get_running_loop().time() + self._options.deadline_seconds
        while asyncio.get_running_loop().time() < until:
            await asyncio.sleep(_POLL_SECONDS)
            failed = traffic.failed()
            if failed is not None:
                raise failed
            fresh = [sample for sample in watch.latest.values() if sample.at > begun]
            first = watch.latest[stage.edges[0].name]
            if first.mode == "recovering" and "after" not in self._samples:
                await self._sample("after", stage, traffic)
            drained = len(fresh) == len(self.history.edges) and all(
                sample.mode and not sample.pending for sample in fresh
            )
            if drained and moments.drained_at is None:
                moments.drained_at = max(sample.at for sample in fresh)
            self._note_normal(fresh)
            if moments.drained_at is not None and len(moments.normal_at) == len(self.history.edges):
                return

    def _note_normal(self, fresh: list[StatusSample]) -> None:
        for sample in fresh:
            if sample.mode == "normal" and sample.edge not in self.history.milestones.normal_at:
                self.history.milestones.normal_at[sample.edge] = sample.at
                self._say(f"{sample.edge} is normal")

    async def _sample(self, phase: str, stage: Stage, traffic: Traffic) -> None:
        """Keep the sentence that a customer's page shows now, where the fault is felt and customers get to."""
        fault = self.history.fault
        reachable = [edge for edge in stage.edges if edge.name not in fault.away]
        felt = [edge for edge in reachable if edge.name in fault.without_core] or reachable
        reader = (traffic.readers or traffic.payers)[0]
        page = await felt[0].ask("GET", "/", seconds=5, headers=reader.cookie)
        found = _HEADING.search(page.text)
        if page.ok and found:
            words = html.unescape(_TAG.sub(" ", found.group(1)))
            self._samples[phase] = " ".join(words.split())
