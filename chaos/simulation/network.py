"""
The wires between nodes: late, lost, doubled, out of order, cut in one direction or both.

A call is a request that travels, is handled in the life of whoever answers, and an answer that travels back. Who gave
up waiting does not stop what is on its way. What the caller is told is what HTTP would let it know: `NotSent` only
when certainly nothing arrived. Nodes call through the product's own clients; only their transport is replaced.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from random import Random
from typing import Literal, Protocol

import msgspec

from chaos.simulation.virtual_time import Life, VirtualLoop
from edge_portal.links import Links
from edge_portal.message_client import MessageClient
from edge_portal.node_client import Answer, NodeClient, read_problem, slug_of
from failover.errors import Ambiguous, NotSent, Overloaded
from failover.node_config import EdgeConfig
from failover.web import Problem

_BUSY = frozenset({429, 503})
_SERVER_ERROR = 500
_REFUSED_SECONDS = 0.001
_HALF = 0.5
_AGAIN_SECONDS = 1.0


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What arrives at a node; ``caller`` is authenticated, ``seconds`` is how long it waits."""

    caller: str
    method: str
    path: str
    params: Mapping[str, str]
    content: bytes
    seconds: float

    async def read_body(self) -> bytes:
        """Return the body, as a web request would."""
        return self.content


class Weather(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a wire is in one direction.

    ``delay`` is the mean of an exponential, in seconds; the others are chances for each message: ``lost`` without a
    word, ``doubled`` delivered again later, ``reset`` the connection broken for the caller, ``garbled`` a bit flipped.
    """

    delay: float = 0.003
    lost: float = 0.0
    doubled: float = 0.0
    reset: float = 0.0
    garbled: float = 0.0


FINE = Weather()


class Host(Protocol):
    """Where calls arrive."""

    @property
    def name(self) -> str:
        """Its node id."""
        ...

    @property
    def life(self) -> Life | None:
        """The process that answers; None while there is none."""
        ...

    def answer(self, request: Request) -> Awaitable[bytes]:
        """Answer a request; raises `Problem` for what is told as one."""
        ...


class Network:
    """
    All wires of a world.

    Args:
        loop: Where time is.
        rng: Draws what happens to each message.
    """

    def __init__(self, loop: VirtualLoop, rng: Random) -> None:
        self._loop = loop
        self._rng = rng
        self._weather: dict[tuple[str, str], Weather] = {}
        self._cut: set[tuple[str, str]] = set()
        self.hosts: dict[str, Host] = {}
        self.calls = 0
        self.failures: list[Exception] = []

    def set_weather(self, source: str, target: str, weather: Weather) -> None:
        """Change one wire, in one direction."""
        self._weather[source, target] = weather

    def cut(self, source: str, target: str) -> None:
        """Swallow all that goes in one direction."""
        self._cut.add((source, target))

    def mend(self, source: str, target: str) -> None:
        """Mend one wire, in one direction."""
        self._cut.discard((source, target))
        self._weather.pop((source, target), None)

    def heal(self) -> None:
        """Mend all wires."""
        self._weather.clear()
        self._cut.clear()

    async def call(self, target: str, request: Request) -> Answer:
        """
        Call a node and wait for its answer.

        Raises:
            NotSent: Nothing arrived.
            Ambiguous: It may have been handled.
        """
        self.calls += 1
        flight = _Flight(self._loop.create_future())
        # Part of no life: what is on its way arrives, whoever sent it.
        self._loop.start(None, self._travel(self.hosts[target], request, flight))
        try:
            async with asyncio.timeout(request.seconds):
                return await flight.answer
        except TimeoutError as error:
            # A connection that could not be made in time never carried a byte.
            if flight.connected:
                raise Ambiguous("no answer in time") from error
            raise NotSent("no connection in time") from error

    async def _travel(self, target: Host, request: Request, flight: "_Flight") -> None:
        way, back = (request.caller, target.name), (target.name, request.caller)
        weather = self._weather.get(way, FINE)
        if way in self._cut:
            # Over a connection that is open already, bytes leave; a new one is never made.
            flight.connected = self._rng.random() < _HALF
            return
        await asyncio.sleep(self._rng.expovariate(1 / weather.delay))
        if target.life is None:
            await asyncio.sleep(_REFUSED_SECONDS)
            flight.fail(NotSent("connection refused"))
            return
        flight.connected = True
        if self._happens(weather.lost):
            return
        if self._happens(weather.doubled):
            self._loop.start(None, self._deliver_again(target, request))
        if self._happens(weather.reset):
            flight.fail(Ambiguous("connection reset"))
        if self._happens(weather.garbled):
            request = msgspec.structs.replace(request, content=self._garbled(request.content))
        answer = await self._handled(target, target.life, request)
        weather = self._weather.get(back, FINE)
        await asyncio.sleep(self._rng.expovariate(1 / weather.delay))
        if back in self._cut or self._happens(weather.lost):
            return
        if self._happens(weather.reset):
            flight.fail(Ambiguous("connection reset"))
        if self._happens(weather.garbled):
            answer = Answer(answer.status, self._garbled(answer.body))
        flight.finish(answer)

    async def _deliver_again(self, target: Host, request: Request) -> None:
        await asyncio.sleep(self._rng.expovariate(1 / _AGAIN_SECONDS))
        if target.life is not None:
            await self._handled(target, target.life, request)

    async def _handled(self, target: Host, life: Life, request: Request) -> Answer:
        """Have a request handled in the life of who answers; never returns when that ends first."""
        done: asyncio.Future[Answer] = self._loop.create_future()

        async def run() -> None:
            try:
                answer = Answer(200, await target.answer(request))
            except Problem as problem:
                answer = Answer(problem.status, msgspec.json.encode(problem.body()))
            except Exception as error:  # noqa: BLE001 - as a web server answers it
                self.failures.append(error)
                answer = Answer(_SERVER_ERROR, b"")
            done.set_result(answer)

        self._loop.start(life, run())
        return await done

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self._rng.random() < chance

    def _garbled(self, content: bytes) -> bytes:
        if not content:
            return content
        garbled = bytearray(content)
        garbled[self._rng.randrange(len(garbled))] ^= 1 << self._rng.randrange(8)
        return bytes(garbled)


class _Flight:
    """A call on its way, and whether its connection was made."""

    def __init__(self, answer: "asyncio.Future[Answer]") -> None:
        self.answer = answer
        self.connected = False

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
            # The caller may have given up.
            self.answer.exception()

    def finish(self, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class SimulatedClient(NodeClient):
    """The product's client of one node, over a simulated wire."""

    def __init__(self, network: Network, caller: str, target: str) -> None:
        self._network = network
        self._caller = caller
        self._target = target

    async def call(
        self,
        method: str,
        path: str,
        *,
        deadline_seconds: float,
        bytes_max: int,
        content: bytes | None = None,
        content_type: str | None = None,
        params: Mapping[str, str | int | float] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one call; see `NodeClient.call`."""
        del content_type, headers
        request = Request(
            caller=self._caller,
            method=method,
            path=path,
            params={name: str(value) for name, value in (params or {}).items()},
            content=content or b"",
            seconds=deadline_seconds,
        )
        answer = await self._network.call(self._target, request)
        if len(answer.body) > bytes_max:
            raise Ambiguous("an answer larger than any of theirs")
        if answer.status in _BUSY:
            raise Overloaded(1.0, slug_of(read_problem(answer.body)))
        if answer.status >= _SERVER_ERROR:
            raise Ambiguous(f"answered with {answer.status}")
        return answer

    async def close(self) -> None:
        """Hold nothing."""


class SimulatedMessages(MessageClient):
    """The product's client for what somebody waits for, likewise."""

    def __init__(self, client: SimulatedClient) -> None:
        self._client = client

    async def call(
        self,
        method: Literal["GET", "POST"],
        path: str,
        *,
        deadline_seconds: float,
        bytes_max: int,
        content: bytes | None = None,
        content_type: str | None = None,
        params: Mapping[str, str | int | float] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one call; see `MessageClient.call`."""
        return await self._client.call(
            method,
            path,
            deadline_seconds=deadline_seconds,
            bytes_max=bytes_max,
            content=content,
            content_type=content_type,
            params=params,
            headers=headers,
        )

    async def close(self) -> None:
        """Hold nothing."""


class SimulatedLinks(Links):
    """Makes a node's clients over simulated wires."""

    def __init__(self, config: EdgeConfig, network: Network) -> None:
        super().__init__(config)
        self._network = network

    def client(self, node_id: str, url: str, purpose: str, calls_max: int) -> NodeClient:
        """Make a client of a node."""
        del url, purpose, calls_max
        return SimulatedClient(self._network, self.config.node_id, node_id)

    def messages(self, node_id: str, url: str, purpose: str, calls_max: int) -> MessageClient:
        """Make a client of a node for what somebody waits for."""
        del url, purpose, calls_max
        return SimulatedMessages(SimulatedClient(self._network, self.config.node_id, node_id))
