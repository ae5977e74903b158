"""The feed as it is answered before the framework: what the framework would say, to the letter, and nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
from click.testing import CliRunner

from cache_sync.frames import Frame, decode_frame, digest_frame
from core_cis.__main__ import main
from core_cis.app import create_app
from core_cis.hot_feed import HotFeed
from core_cis.listeners import Listener
from failover.web import CERTIFIED_NODE, authorization_header
from tests.integration.core_cis.conftest import ThroughTheLoop

ORDINARY = "after=0&epoch=0&limit=1000&wait=0.0&proof="


class Counted:
    """Counts what reaches the framework."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.state = app.state
        self.asked = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass one event on."""
        self.asked += 1
        await self.app(scope, receive, send)


class Doors(NamedTuple):
    """One core, reached through the framework and through what stands before it."""

    plain: httpx.AsyncClient
    hot: httpx.AsyncClient
    counted: Counted


@asynccontextmanager
async def doors(core: Any, **state: str) -> AsyncIterator[Doors]:
    """Run a core, and reach it on both ways; ``state`` is what a door before them would have noted."""
    app = create_app(core.data_dir, core.clock)
    counted = Counted(app)

    def through(inner: Any) -> httpx.AsyncClient:
        async def noted(scope: Any, receive: Any, send: Any) -> None:
            await inner({**scope, "state": dict(state)}, receive, send)

        transport = httpx.ASGITransport(
            ThroughTheLoop(noted, app.state), raise_app_exceptions=False
        )
        return httpx.AsyncClient(transport=transport, base_url="http://core")

    async with (
        app.lifespan(),
        through(app) as plain,
        through(HotFeed(counted)) as hot,  # type: ignore[arg-type]
    ):
        yield Doors(plain, hot, counted)


def told(answer: httpx.Response) -> tuple[int, dict[str, str], object]:
    """Tell what an answer says; a T of its own has every frame."""
    headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
    if answer.headers.get("content-type", "").endswith("msgpack"):
        frame = decode_frame(answer.content)
        assert frame.digest == digest_frame(frame)
        return answer.status_code, headers, without_time(frame)
    return answer.status_code, headers, answer.content


def without_time(frame: Frame) -> Frame:
    """Take out what differs between two answers to one question."""
    return msgspec.structs.replace(frame, as_of=None, age_seconds=0.0, digest="")


async def both(asked: Doors, path: str, **named: Any) -> tuple[httpx.Response, httpx.Response]:
    """Ask on both ways; they must say the same."""
    plain = await asked.plain.get(path, **named)
    before = asked.counted.asked
    hot = await asked.hot.get(path, **named)
    assert told(hot) == told(plain)
    assert asked.counted.asked - before in {0, 1}
    return plain, hot


async def test_an_ordinary_question_is_not_the_frameworks(core: Any) -> None:
    """From the beginning, at the head, behind it: the same frame, and a content length that is right."""
    async with doors(core) as asked:
        for after, epoch in ((0, 0), (2, 1), (5, 1)):
            query = f"after={after}&epoch={epoch}&limit=2&wait=0.0&proof="
            _, hot = await both(asked, f"/feed/0?{query}", headers=core.node())
            assert hot.status_code == 200
            assert int(hot.headers["content-length"]) == len(hot.content)
        assert asked.counted.asked == 0


@pytest.mark.parametrize(
    ("query", "status", "slug"),
    [
        ("after=10000&epoch=1&limit=9&wait=0.0&proof=", 409, "fork"),
        ("after=1&epoch=7&limit=9&wait=0.0&proof=", 409, "epoch_changed"),
    ],
)
async def test_what_cannot_be_answered_is_the_same_problem(
    core: Any, query: str, status: int, slug: str
) -> None:
    """With its members, its type and its headers; the framework is not asked a second time."""
    async with doors(core) as asked:
        _, hot = await both(asked, f"/feed/0?{query}", headers=core.node())
        assert (hot.status_code, hot.json()["type"]) == (status, f"urn:ridethrough:problem:{slug}")
        assert hot.headers["content-type"] == "application/problem+json"
        _, hot = await both(asked, f"/feed/9?{ORDINARY}", headers=core.node())
        assert hot.json()["type"] == "urn:ridethrough:problem:unknown_shard"
        assert asked.counted.asked == 0


@pytest.mark.parametrize(
    "query",
    [
        "",
        "after=1",
        "epoch=0&after=0&limit=9&wait=0.0&proof=",
        "after=-1&epoch=0&limit=9&wait=0.0&proof=",
        "after=x&epoch=0&limit=9&wait=0.0&proof=",
        "after=0&epoch=0&limit=0&wait=0.0&proof=",
        "after=0&epoch=0&limit=9&wait=99&proof=",
        "after=0&epoch=0&limit=9&wait=nan&proof=",
        "after=0&epoch=0&limit=9&wait=0.0&proof=&proof=",
        "after=%30&epoch=0&limit=9&wait=0.0&proof=",
        "after=999999999999999999999&epoch=0&limit=9&wait=0.0&proof=",
        "after=\u0663&epoch=0&limit=9&wait=0.0&proof=",
    ],
)
async def test_what_is_written_otherwise_is_the_frameworks(core: Any, query: str) -> None:
    """Right or wrong: it knows all the rules."""
    async with doors(core) as asked:
        await both(asked, f"/feed/0?{query}", headers=core.node())
        assert asked.counted.asked == 1


async def test_whoever_is_not_let_in_is_refused_by_the_framework(core: Any) -> None:
    """No secret, a wrong one, one of nobody, another scheme, two headers."""
    secret = core.configs["east"].node_secret
    refused = [
        [],
        [("Authorization", authorization_header("east", "wrong"))],
        [("Authorization", authorization_header("nobody", secret))],
        [("Authorization", f"Bearer {secret}")],
        [("Authorization", core.node()["Authorization"])] * 2,
    ]
    async with doors(core) as asked:
        for number, headers in enumerate(refused, 1):
            await both(asked, f"/feed/0?{ORDINARY}", headers=headers)
            assert asked.counted.asked == number


async def test_an_expelled_edge_is_refused_at_once(core: Any) -> None:
    """With the next question."""
    async with doors(core) as asked:
        _, hot = await both(asked, f"/feed/0?{ORDINARY}", headers=core.node())
        assert hot.status_code == 200
        revoked = CliRunner().invoke(
            main, ["edges", "revoke", "east", "--data", str(core.data_dir)]
        )
        assert revoked.exit_code == 0, revoked.output
        core.clock.move(1)
        _, hot = await both(asked, f"/feed/0?{ORDINARY}", headers=core.node())
        assert hot.status_code == 401


async def test_a_secret_with_another_nodes_certificate_opens_nothing(core: Any) -> None:
    """Where nodes speak TLS the door before has noted whose certificate it was."""
    async with doors(core, **{CERTIFIED_NODE: "west"}) as asked:
        _, hot = await both(asked, f"/feed/0?{ORDINARY}", headers=core.node())
        assert (hot.status_code, asked.counted.asked) == (403, 1)
        _, hot = await both(asked, f"/feed/0?{ORDINARY}", headers=core.node("west"))
        assert (hot.status_code, asked.counted.asked) == (200, 1)


async def test_at_the_operators_port_there_is_no_feed(core: Any) -> None:
    """It is for nodes, and they have a port of their own."""
    app = create_app(core.data_dir, core.clock)
    async with app.lifespan():
        served: Any = Listener(HotFeed(app), "operators")
        transport = httpx.ASGITransport(served, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://core") as client:
            answer = await client.get(f"/feed/0?{ORDINARY}", headers=core.node())
    assert answer.json()["type"] == "urn:ridethrough:problem:wrong_listener"


async def test_frames_are_counted_on_both_ways(core: Any) -> None:
    """Operators see how many were answered, whoever answered them."""
    async with doors(core) as asked:
        for _ in range(3):
            await both(asked, f"/feed/0?{ORDINARY}", headers=core.node())
        metrics = (await asked.plain.get("/metrics")).text
    assert "ridethrough_core_feed_frames_total 6.0" in metrics


async def test_a_commit_is_answered_in_its_own_name(file_core: Any) -> None:
    """Its stamp is a T that is closed: nobody waits for the disk once more. A moment later one is closed again."""
    async with doors(file_core) as asked:
        answer = await file_core.deliver(asked.plain, file_core.intent())
        (outcome,) = answer.outcomes
        path, headers = f"/feed/0?{ORDINARY}", file_core.node()
        frame = decode_frame((await asked.hot.get(path, headers=headers)).content)
        assert (frame.as_of, frame.barrier) == (outcome.decided_at, True)
        file_core.clock.move(1)
        later = decode_frame((await asked.hot.get(path, headers=headers)).content)
        assert (later.as_of > frame.as_of, later.upto) == (True, frame.upto)
