"""A crowd that signs in all at once, most of it with wrong passwords."""

import asyncio
from random import Random

import msgspec

from chaos.customers import EdgeClient
from chaos.drills.drill import Lease, Target
from chaos.drills.stage import Stage
from chaos.fleet_file import Customer, FleetFile
from chaos.history import SignIn

SIGN_IN_SECONDS_MAX = 20.0


class SignInStorm(msgspec.Struct, frozen=True):
    """Sign-ins at every edge, ``per_second`` at each, a ``wrong`` share of them with a wrong password."""

    per_second: float = 20.0
    wrong: float = 0.7

    def targets(self, fleet: FleetFile) -> list[Target]:
        """Name the edges."""
        words = f"{self.per_second:g} sign-ins a second, {self.wrong:.0%} of them wrong"
        return [Target(f"{edge.name}: its sign-in", words) for edge in fleet.edges]

    async def take(self, stage: Stage) -> Lease:
        """Let the crowd come."""
        return _Crowd(self, stage)


class _Crowd:
    def __init__(self, storm: SignInStorm, stage: Stage) -> None:
        self._storm = storm
        self._stage = stage
        self._rng = Random(len(stage.fleet.customers))
        self._asking: set[asyncio.Task[None]] = set()
        self._tasks = [asyncio.ensure_future(self._come(edge)) for edge in stage.edges]

    async def renew(self) -> None:
        """Do nothing: the crowd goes with the drill."""

    async def heal(self) -> None:
        """Let nobody else come, and wait for those who are there."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*self._asking)

    async def _come(self, edge: EdgeClient) -> None:
        while True:
            customer = self._rng.choice(self._stage.fleet.customers)
            task = asyncio.ensure_future(self._sign_in(edge, customer))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
            await asyncio.sleep(self._rng.expovariate(self._storm.per_second))

    async def _sign_in(self, edge: EdgeClient, customer: Customer) -> None:
        wrong = self._rng.random() < self._storm.wrong
        body: dict[str, object] = {
            "email": customer.email,
            "password": "not this one" if wrong else customer.password,
        }
        answer = await edge.ask("POST", "/api/v1/session", seconds=SIGN_IN_SECONDS_MAX, body=body)
        self._stage.history.sign_ins.append(
            SignIn(
                sent_at=answer.sent_at,
                received_at=answer.received_at,
                edge=edge.name,
                status=answer.status,
                wrong=wrong,
            )
        )
