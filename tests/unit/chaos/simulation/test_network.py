"""Wires: what a caller may know of what became of a call."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from chaos.simulation.network import Network, Request, SimulatedClient, Weather
from chaos.simulation.virtual_time import Life, VirtualLoop, run_virtually
from edge_portal.node_client import Answer
from failover.errors import Ambiguous, NodeError, NotSent, Overloaded
from failover.web import Problem


class Echo:
    """A node that answers with what it got."""

    name = "echo"

    def __init__(self) -> None:
        self.life: Life | None = Life(self.name)
        self.heard: list[bytes] = []
        self.problem: Problem | None = None

    async def answer(self, request: Request) -> bytes:
        """Answer with what came, or as the test wants."""
        self.heard.append(request.content)
        if self.problem is not None:
            raise self.problem
        return request.content


Story = Callable[[VirtualLoop, Network, Echo], Coroutine[Any, Any, None]]


def play(story: Story, seed: int = 1) -> Echo:
    """Let a story happen between one caller and an echo; return the echo."""
    echo = Echo()

    async def main(loop: VirtualLoop) -> None:
        network = Network(loop, Random(seed))
        network.hosts = {echo.name: echo}
        await story(loop, network, echo)

    run_virtually(Random(seed), main)
    return echo


async def ask(network: Network, seconds: float = 2.0) -> Answer:
    """Say hello to the echo."""
    client = SimulatedClient(network, "me", "echo")
    return await client.call(
        "POST", "/", deadline_seconds=seconds, bytes_max=1000, content=b"hello"
    )


def test_a_call_is_answered_later() -> None:
    """A call is answered later."""

    async def story(loop: VirtualLoop, network: Network, _: Echo) -> None:
        assert await ask(network) == Answer(200, b"hello")
        assert loop.time() > 0

    assert play(story).heard == [b"hello"]


def test_nobody_there_means_that_nothing_was_sent() -> None:
    """Nobody there means that nothing was sent."""

    async def story(_: VirtualLoop, network: Network, echo: Echo) -> None:
        echo.life = None
        with pytest.raises(NotSent):
            await ask(network)

    assert play(story).heard == []


@pytest.mark.parametrize("seed", range(8))
def test_a_cut_wire_never_claims_more_than_is_known(seed: int) -> None:
    """A cut wire never claims more than is known."""

    async def story(loop: VirtualLoop, network: Network, _: Echo) -> None:
        network.cut("me", "echo")
        with pytest.raises(NodeError):
            await ask(network)
        assert loop.time() == pytest.approx(2.0)
        network.mend("me", "echo")
        await ask(network)

    assert play(story, seed).heard == [b"hello"]


def test_an_answer_that_is_lost_leaves_the_caller_in_doubt() -> None:
    """An answer that is lost leaves the caller in doubt."""

    async def story(_: VirtualLoop, network: Network, __: Echo) -> None:
        network.cut("echo", "me")
        with pytest.raises(Ambiguous):
            await ask(network)

    assert play(story).heard == [b"hello"]


def test_a_message_can_come_twice() -> None:
    """A message can come twice."""

    async def story(_: VirtualLoop, network: Network, __: Echo) -> None:
        network.set_weather("me", "echo", Weather(doubled=1.0))
        await ask(network)
        await asyncio.sleep(60)

    assert play(story).heard == [b"hello", b"hello"]


def test_a_message_can_lose_a_bit() -> None:
    """A message can lose a bit."""

    async def story(_: VirtualLoop, network: Network, __: Echo) -> None:
        network.set_weather("me", "echo", Weather(garbled=1.0))
        answer = await ask(network)
        assert answer.body != b"hello"

    (heard,) = play(story).heard
    assert len(heard) == len(b"hello")


def test_what_is_on_its_way_arrives_although_its_sender_has_given_up() -> None:
    """What is on its way arrives although its sender has given up."""

    async def story(_: VirtualLoop, network: Network, __: Echo) -> None:
        network.set_weather("me", "echo", Weather(delay=5.0))
        with pytest.raises(NodeError):
            await ask(network, seconds=0.001)
        await asyncio.sleep(300)

    assert play(story).heard == [b"hello"]


def test_a_node_that_dies_while_it_answers_says_nothing() -> None:
    """A node that dies while it answers says nothing."""

    async def story(loop: VirtualLoop, network: Network, echo: Echo) -> None:
        async def slowly(request: Request) -> bytes:
            await asyncio.sleep(1)
            return request.content

        echo.answer = slowly  # type: ignore[method-assign]
        asking = loop.create_task(ask(network))
        await asyncio.sleep(0.5)
        assert echo.life is not None
        echo.life.alive = False
        with pytest.raises(Ambiguous):
            await asking

    play(story)


def test_busy_and_broken_are_told_as_over_http() -> None:
    """Busy and broken are told as over http."""

    async def story(_: VirtualLoop, network: Network, echo: Echo) -> None:
        echo.problem = Problem("core_busy", status=503, title="Busy")
        with pytest.raises(Overloaded) as busy:
            await ask(network)
        assert busy.value.slug == "core_busy"
        echo.problem = Problem("internal_error", status=500, title="Broken")
        with pytest.raises(Ambiguous):
            await ask(network)
        echo.problem = Problem("fork", status=409, title="Fork", head=7)
        answer = await ask(network)
        assert answer.status == 409
        assert b'"head":7' in answer.body

    play(story)
