"""Reading edges' journals: patient with an edge that is coming back, strict with what makes no sense."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from core_cis.errors import EdgeUnreachable
from core_cis.peer_journals import PeerJournals
from failover.peer_messages import RecordedPage


def page(**changes: Any) -> bytes:
    """Encode a page of an empty journal, but for the changes."""
    empty = RecordedPage(node_id="east", incarnation="j", items=[])
    return msgspec.msgpack.encode(msgspec.structs.replace(empty, **changes))


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(401, json={"type": "urn:ridethrough:problem:not_a_known_node"}),
        httpx.Response(200, content=b"\xc1"),
        httpx.Response(200, content=page(node_id="west")),
        httpx.Response(200, content=page(next_after=0)),
        httpx.Response(200, json={"items": []}),
    ],
)
def test_answer_that_makes_no_sense_is_no_answer(answer: httpx.Response) -> None:
    """An edge that errs, or another that answers in its place, is not reconciled rather than believed."""
    transport = httpx.MockTransport(lambda _: answer)
    with pytest.raises(EdgeUnreachable):
        PeerJournals("secret", transport=transport).read("east", "http://east.test")


def test_json_is_read_as_well() -> None:
    """An edge may answer in JSON; holes that it names itself are missing too."""
    empty = RecordedPage(node_id="east", incarnation="j", items=[], last_ordinal=2, holes=[7])
    answer = httpx.Response(
        200, content=msgspec.json.encode(empty), headers={"content-type": "application/json"}
    )
    journals = PeerJournals("secret", transport=httpx.MockTransport(lambda _: answer))
    assert journals.read("east", "http://east.test").missing == [1, 2, 7]


def test_an_answer_that_drips_on_for_ever_ends() -> None:
    """Every byte comes in time and the whole never does: the edge counts as unreachable, and the run goes on."""

    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b"."
            await asyncio.sleep(0.01)

    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=drip()))
    journals = PeerJournals("secret", transport=transport, answer_seconds=0.1)
    with pytest.raises(EdgeUnreachable):
        journals.read("east", "http://east.test")


def test_an_edge_that_is_replacing_its_agent_is_asked_again() -> None:
    """A refused connection and a broken answer are no reason to call a reconciliation incomplete."""
    failures: list[httpx.Response | Exception] = [
        httpx.ConnectError("refused"),
        httpx.Response(503),
    ]

    def answer(_: httpx.Request) -> httpx.Response:
        if failures:
            failed = failures.pop(0)
            if isinstance(failed, Exception):
                raise failed
            return failed
        return httpx.Response(200, content=page())

    journals = PeerJournals("secret", transport=httpx.MockTransport(answer))
    assert journals.read("east", "http://east.test").node_id == "east"


def test_journal_replaced_meanwhile_is_no_answer() -> None:
    """Own list and copies of two different journals are not put together."""
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, content=page(incarnation=request.url.params["source"]))
    )
    with pytest.raises(EdgeUnreachable):
        PeerJournals("secret", transport=transport).read("east", "http://east.test")
