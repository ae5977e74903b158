"""Offering what many customers have asked for at the same time."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from failover.peer_messages import CopyAnswer, CopyBatch
from tests.unit.failover.world import World, live

CUSTOMERS = 40


def test_what_a_witness_confirms_at_once_is_one_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few requests, each with what gathered meanwhile, one note for each; whoever is answered reads "accepted"."""

    async def story(world: World) -> None:
        east = world["east"]
        east.core_wire.state = "cut"
        await asyncio.sleep(4)
        journal, sibling = east.journal, east.submission._siblings["west"]
        copy, confirm = sibling.copy, journal.confirm
        sent, noted = list[int](), list[int]()
        under_way, most = 0, 0

        async def slow_copy(batch: CopyBatch, *, deadline_seconds: float) -> CopyAnswer:
            nonlocal under_way, most
            sent.append(len(batch.intents))
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.05)
            answer = await copy(batch, deadline_seconds=deadline_seconds)
            under_way -= 1
            return answer

        async def counted_confirm(ordinals: Iterable[int], witness: str) -> None:
            known = list(ordinals)
            noted.append(len(known))
            await confirm(known, witness)

        monkeypatch.setattr(sibling, "copy", slow_copy)
        monkeypatch.setattr(journal, "confirm", counted_confirm)

        async def pay(number: int) -> None:
            wish = world.wish(f"k{number}", 100, account_id=f"A-{number}")
            receipt = await east.submission.pay(wish)
            assert (receipt.state, receipt.durable) == ("accepted", True)
            known = journal.reader.receipt(receipt.account_id, receipt.intent_id)
            assert known is not None
            assert (known.state, known.durable) == ("accepted", True)

        await asyncio.gather(*(pay(number) for number in range(CUSTOMERS)))
        assert noted == sent
        assert sum(sent) == CUSTOMERS
        assert len(sent) <= CUSTOMERS / 4
        assert most == 2
        assert world["west"].journal.reader.queue(None).copies_held == CUSTOMERS

    live(tmp_path, story)
