"""Second copies: who keeps them, and what is refused."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from failover.errors import JournalFull
from failover.intents import Intent, Outcome, fingerprint, intent_id
from failover.peer_messages import CopyBatch, OutcomeNotice
from failover.signing import Signer, generate_signing_key
from failover.witness import rank_witnesses
from tests.unit.failover.world import World, live

PEERS = ["east", "north", "south", "west"]


def intent(
    signer: Signer, *, ordinal: int = 1, edge_id: str = "east", amount_cents: int = 700
) -> Intent:
    """Make a signed intent as an edge would record it."""
    fields = {
        "account_id": "A-1",
        "amount_cents": amount_cents,
        "currency": "USD",
        "method_id": "M-1",
    }
    return signer.sign(
        Intent(
            intent_id=intent_id("A-1", f"key-{ordinal}"),
            fingerprint=fingerprint(type_="payment", **fields),  # type: ignore[arg-type]
            idempotency_key=f"key-{ordinal}",
            accepted_at=datetime(2026, 3, 1, tzinfo=UTC),
            edge_id=edge_id,
            incarnation="i1",
            ordinal=ordinal,
            **fields,  # type: ignore[arg-type]
        )
    )


def test_every_edge_ranks_alike_and_load_is_spread() -> None:
    """The order depends on nothing but account and names; each is first for about a quarter."""
    accounts = [f"A-{number}" for number in range(2000)]
    first = Counter(rank_witnesses(account, PEERS)[0] for account in accounts)
    assert all(400 < first[peer] < 600 for peer in PEERS)
    shuffled = random.Random(1).sample(PEERS, len(PEERS))
    assert all(
        rank_witnesses(account, PEERS) == rank_witnesses(account, shuffled) for account in accounts
    )


def test_losing_a_sibling_moves_only_its_accounts() -> None:
    """Whoever had another witness keeps it."""
    for number in range(500):
        ranked = rank_witnesses(f"A-{number}", PEERS)
        left = rank_witnesses(f"A-{number}", [peer for peer in PEERS if peer != "north"])
        assert left == [peer for peer in ranked if peer != "north"]


def test_a_genuine_copy_is_held_and_again_held(tmp_path: Path) -> None:
    """Repeating it changes nothing."""

    async def story(world: World) -> None:
        holder = world["west"].holder
        assert holder is not None
        batch = CopyBatch([intent(Signer(world["east"].signing_key))])
        first = await holder.copy("east", batch)
        assert first.intent_ids == [batch.intents[0].intent_id]
        assert await holder.copy("east", batch) == first
        assert world["west"].journal.reader.queue(None).copies_held == 1
        assert holder.hello("east").held_cents == {"i1": 700}
        assert holder.hello("north").held_cents == {}

    live(tmp_path, story, settle_seconds=0.0)


def test_what_the_caller_did_not_record_and_sign_is_refused(tmp_path: Path) -> None:
    """A forged signature, another's intent, one changed on the way, one of this node's own: none is held."""

    async def story(world: World) -> None:
        west = world["west"]
        assert west.holder is not None
        east = Signer(world["east"].signing_key)
        genuine = intent(east)
        bad = [
            intent(Signer(generate_signing_key(world.rng.randbytes))),
            msgspec.structs.replace(genuine, amount_cents=1),
            msgspec.structs.replace(genuine, signature=""),
            msgspec.structs.replace(genuine, signature="not base64!"),
            intent(east, edge_id="north"),
            east.sign(msgspec.structs.replace(genuine, amount_cents=1)),
        ]
        for forged in bad:
            answer = await west.holder.copy("east", CopyBatch([forged]))
            assert (answer.intent_ids, answer.refused) == ([], [forged.intent_id])
        own = intent(Signer(west.signing_key), edge_id="west")
        assert (await west.holder.copy("west", CopyBatch([own]))).refused == [own.intent_id]
        assert (await west.holder.copy("stranger", CopyBatch([genuine]))).refused
        assert west.journal.reader.queue(None).copies_held == 0

    live(tmp_path, story, settle_seconds=0.0)


def test_other_content_in_the_same_place_is_refused(tmp_path: Path) -> None:
    """A writer's ordinal names one intent for ever; the first copy stays."""

    async def story(world: World) -> None:
        west = world["west"]
        assert west.holder is not None
        signer = Signer(world["east"].signing_key)
        first = intent(signer, amount_cents=700)
        await west.holder.copy("east", CopyBatch([first]))
        second = intent(signer, amount_cents=900)
        assert (await west.holder.copy("east", CopyBatch([second]))).refused == [second.intent_id]
        (item,) = west.journal.reader.page("copies", after=0).items
        assert item.intent == first

    live(tmp_path, story, settle_seconds=0.0)


def test_a_full_holder_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    """The caller may ask again, or another."""

    async def story(world: World) -> None:
        west = world["west"]
        assert west.holder is not None
        world.free_bytes = 0
        with pytest.raises(JournalFull):
            await west.holder.copy("east", CopyBatch([intent(Signer(world["east"].signing_key))]))
        assert west.journal.reader.queue(None).copies_held == 0

    live(tmp_path, story, settle_seconds=0.0)


def test_only_what_the_core_signed_settles_a_copy(tmp_path: Path) -> None:
    """Made up, changed, or signed by the sibling itself, one or many at once: refused, and the copy stays undecided."""

    async def story(world: World) -> None:
        west = world["west"]
        assert west.holder is not None
        signer = Signer(world["east"].signing_key)
        copy = intent(signer)
        await west.holder.copy("east", CopyBatch([copy]))
        genuine = world.core.decide(copy)
        made_up = Outcome(
            intent_id=copy.intent_id,
            fingerprint=copy.fingerprint,
            state="rejected",
            decided_at=world.clock.now(),
            epoch=1,
            shard="0",
            seq=1,
        )
        forged = [
            made_up,
            signer.sign_outcome(made_up),
            msgspec.structs.replace(genuine, state="rejected"),
            msgspec.structs.replace(made_up, signature=genuine.signature),
            msgspec.structs.replace(made_up, signature="not base64!"),
        ]
        for notice in (*([each] for each in forged), forged):
            answer = await west.holder.outcomes("east", OutcomeNotice(notice))
            assert (answer.intent_ids, len(answer.refused)) == ([], len(notice))
        assert west.journal.reader.queue(None).copies_held == 1
        answer = await west.holder.outcomes("east", OutcomeNotice([*forged, genuine]))
        assert answer.intent_ids == [copy.intent_id]
        (item,) = west.journal.reader.page("copies", after=0).items
        assert item.outcome == genuine

    live(tmp_path, story, settle_seconds=0.0)


def test_the_watch_tells_who_is_there(tmp_path: Path) -> None:
    """Within seconds of a sibling's end, and again after its return, with its incarnation."""

    async def story(world: World) -> None:
        east, west = world["east"], world["west"]
        assert east.peers.liveness() == {"west": True}
        assert east.peers.incarnation("west") == west.journal.incarnation
        await west.crash()
        await asyncio.sleep(4.5)
        assert not east.peers.live("west")
        assert east.peers.silence_seconds("west") > 3
        west.start()
        await asyncio.sleep(2)
        assert east.peers.live("west")

    live(tmp_path, story)


def test_an_answer_under_another_name_does_not_count(tmp_path: Path) -> None:
    """An address that leads to the wrong node makes no witness."""

    async def story(world: World) -> None:
        world["west"].holder = world["east"].holder
        await asyncio.sleep(5)
        assert not world["east"].peers.live("west")

    live(tmp_path, story)
