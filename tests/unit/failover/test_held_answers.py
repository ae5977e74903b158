"""Large answers: in their place until they were taken, and nothing held for those who wait for one."""

import asyncio
from typing import Any

import pytest

from cache_sync.places import Places
from failover.held_answers import LARGE_BYTES_MIN, LargeAnswer
from failover.web import Problem

SCOPE: Any = {"type": "http"}
LARGE = bytes(LARGE_BYTES_MIN)


class Server:
    """Takes what is sent: all of it at once, or only so many messages until `taken` is set."""

    def __init__(self, messages: int = 1000) -> None:
        self.messages = messages
        self.taken = asyncio.Event()
        self.sent: list[dict[str, Any]] = []

    async def send(self, message: Any) -> None:
        """Take a message, or wait."""
        if len(self.sent) >= self.messages:
            await self.taken.wait()
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        """What came."""
        return b"".join(message.get("body", b"") for message in self.sent)


class Answers:
    """Answers of one server, and how often one was made."""

    def __init__(self, content: bytes = LARGE) -> None:
        self.places = Places(of_all=2, of_one=1)
        self.content = content
        self.made = 0

    async def _make(self) -> bytes:
        self.made += 1
        return self.content

    def give(self, node_id: str, server: Server, seconds: float = 5.0) -> asyncio.Task[None]:
        """Begin to answer a node."""
        answer = LargeAnswer(
            self.places, node_id, self._make, media_type="text/plain", seconds=seconds
        )
        send: Any = server.send

        async def receive() -> Any:
            raise AssertionError("nothing is read")

        async def answered() -> None:
            await answer(SCOPE, receive, send)

        return asyncio.create_task(answered())


@pytest.mark.parametrize("content", [LARGE, LARGE[1:], b""], ids=["large", "small", "empty"])
async def test_what_is_sent_is_one_whole_answer(content: bytes) -> None:
    """Announced with its length, and ended once, behind the last byte."""
    server = Server()
    await Answers(content).give("east", server)
    start, *bodies = server.sent
    assert start["status"] == 200
    assert dict(start["headers"])[b"content-length"] == str(len(content)).encode()
    assert server.body == content
    assert [message["more_body"] for message in bodies] == [True] * (len(bodies) - 1) + [False]


async def test_a_place_is_kept_until_the_answer_was_taken() -> None:
    """Nothing is made for the same node meanwhile; another has its own place."""
    answers, slow, next_one, other = Answers(), Server(5), Server(), Server()
    first = answers.give("east", slow)
    await asyncio.sleep(0.01)
    second = answers.give("east", next_one)
    await asyncio.sleep(0.01)
    assert (first.done(), answers.made) == (False, 1)
    await answers.give("west", other)
    assert (other.body, answers.made) == (LARGE, 2)
    slow.taken.set()
    await first
    await second
    assert (slow.body, next_one.body, answers.made) == (LARGE, LARGE, 3)


async def test_who_waits_too_long_is_told_to_come_again() -> None:
    """By name, before anything is made; whoever has the place keeps it."""
    answers, slow = Answers(), Server(5)
    first = answers.give("east", slow)
    await asyncio.sleep(0.01)
    with pytest.raises(Problem) as told:
        await answers.give("east", Server(), seconds=0.01)
    assert (told.value.slug, told.value.status, answers.made) == ("too_many_answers", 503, 1)
    slow.taken.set()
    await first


async def test_whoever_hangs_up_gives_the_place_back() -> None:
    """An answer that fails or is cancelled keeps nobody out."""
    answers, slow = Answers(), Server(5)
    first = answers.give("east", slow)
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await answers.give("east", Server())
