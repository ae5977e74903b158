"""One payment from wish to answer, in every condition of core and siblings."""

import asyncio
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from failover.errors import (
    InvalidPayment,
    KeyReused,
    NotTaken,
    OutcomeUnknown,
    OverLimit,
)
from failover.intents import Receipt
from failover.peer_messages import Ask
from failover.standin import Limits
from failover.witness import WitnessHolder
from tests.unit.failover.world import World, live

# Less than what a wire takes.
UNDER_WAY_SECONDS = 0.0005


def test_with_the_core_up_a_payment_is_posted_at_once(tmp_path: Path) -> None:
    """The answer is the core's outcome, within milliseconds, and the copy is released."""

    async def story(world: World) -> None:
        before = world.clock.boot_seconds()
        receipt = await world["east"].submission.pay(world.wish("k1"))
        assert receipt.state == "posted"
        assert receipt.seq == 1
        assert world.clock.boot_seconds() - before < 0.1
        assert world.core.ledger == [receipt.intent_id]
        await asyncio.sleep(2)
        assert world["west"].journal.reader.queue(None).copies_held == 0

    live(tmp_path, story)


def test_twenty_at_once_at_both_edges_are_one_payment(tmp_path: Path) -> None:
    """The same key from everywhere at the same time is posted once and answered alike."""

    async def story(world: World) -> None:
        wishes = [
            world[name].submission.pay(world.wish("k1"))
            for name in ("east", "west")
            for _ in range(20)
        ]
        receipts = await asyncio.gather(*wishes)
        assert {receipt.state for receipt in receipts} == {"posted"}
        assert len(world.core.ledger) == 1

    live(tmp_path, story)


@pytest.mark.parametrize("core_up", [True, False])
def test_other_content_under_the_same_key_is_refused(tmp_path: Path, core_up: bool) -> None:  # noqa: FBT001
    """At the edge that took it, at the edge that holds the copy, during and after the first attempt."""

    async def story(world: World) -> None:
        world.core.up = core_up
        first = asyncio.create_task(world["east"].submission.pay(world.wish("k1", 1000)))
        await asyncio.sleep(UNDER_WAY_SECONDS)
        with pytest.raises(KeyReused):
            await world["east"].submission.pay(world.wish("k1", 2000))
        await first
        for name in ("east", "west"):
            with pytest.raises(KeyReused):
                await world[name].submission.pay(world.wish("k1", 2000))

    live(tmp_path, story)


@pytest.mark.parametrize("fault", ["refused", "cut"])
def test_with_the_core_away_a_payment_is_accepted_on_two_disks(tmp_path: Path, fault: str) -> None:
    """At first after at most a second; once the breaker is open at once, without touching the core."""

    async def story(world: World) -> None:
        east = world["east"]
        east.core_wire.state = fault
        before = world.clock.boot_seconds()
        receipt = await east.submission.pay(world.wish("k1"))
        assert (receipt.state, receipt.durable) == ("accepted", True)
        assert world.clock.boot_seconds() - before <= 1.01
        await asyncio.sleep(4)
        assert east.breaker.state != "closed"
        before = world.clock.boot_seconds()
        receipt = await east.submission.pay(world.wish("k2"))
        assert receipt.state == "accepted"
        assert world.clock.boot_seconds() - before < 0.05
        assert world["west"].journal.reader.queue(None).copies_held == 2

    live(tmp_path, story)


def test_nobody_reachable_is_not_taken_and_the_key_stays_free(tmp_path: Path) -> None:
    """Nothing was offered, so nothing is recorded as living; the same key is posted later, also with other content."""

    async def story(world: World) -> None:
        east = world["east"]
        east.core_wire.state = "refused"
        world["west"].holder = None
        await asyncio.sleep(6)
        with pytest.raises(NotTaken):
            await east.submission.pay(world.wish("k1", 1000))
        east.core_wire.state = "up"
        await asyncio.sleep(12)
        receipt = await east.submission.pay(world.wish("k1", 3000))
        assert (receipt.state, receipt.amount_cents) == ("posted", 3000)

    live(tmp_path, story)


def test_refused_by_everybody_in_the_act_is_voided(tmp_path: Path) -> None:
    """Recorded, offered, but no byte left this node: voided, and told so; the attempt binds nothing."""

    async def story(world: World) -> None:
        east = world["east"]
        east.core_wire.state = "refused"
        east.peer_wires["west"].state = "refused"
        with pytest.raises(NotTaken):
            await east.submission.pay(world.wish("k1"))
        (row,) = east.journal.reader.page("own", after=0).items
        assert (row.state, row.witnesses, row.offered_core) == ("void", ["west"], True)
        known = await east.submission.ask("A-1", row.intent.intent_id)
        assert known is not None
        assert known.state == "void"
        east.core_wire.state = "up"
        assert (await east.submission.pay(world.wish("k1"))).state == "posted"
        assert east.journal.reader.page("own", after=0).last_ordinal == 2

    live(tmp_path, story)


def test_offered_without_any_answer_is_checking_and_ends_posted(tmp_path: Path) -> None:
    """Both swallowed what was sent: the customer is told not to pay again, and a repeat does not pay again."""

    async def story(world: World) -> None:
        east = world["east"]
        east.core_wire.state = east.peer_wires["west"].state = "cut"
        receipt = await east.submission.pay(world.wish("k1"))
        assert (receipt.state, receipt.durable) == ("checking", False)
        again = await east.submission.pay(world.wish("k1"))
        assert again.state == "checking"
        east.core_wire.state = east.peer_wires["west"].state = "up"
        await asyncio.sleep(15)
        assert (await east.submission.pay(world.wish("k1"))).state == "posted"
        assert len(world.core.ledger) == 1

    live(tmp_path, story)


def test_a_late_second_copy_turns_checking_into_accepted(tmp_path: Path) -> None:
    """What the first witness did not confirm is copied again in the background."""

    async def story(world: World) -> None:
        east = world["east"]
        east.core_wire.state = east.peer_wires["west"].state = "cut"
        receipt = await east.submission.pay(world.wish("k1"))
        assert receipt.state == "checking"
        east.peer_wires["west"].state = "up"
        await asyncio.sleep(4)
        known = await east.submission.ask("A-1", receipt.intent_id)
        assert known is not None
        assert (known.state, known.durable) == ("accepted", True)

    live(tmp_path, story)


def test_the_second_choice_keeps_the_copy_when_the_first_cannot(tmp_path: Path) -> None:
    """With three edges, a witness that refuses the connection is passed over for the next, noted before it is asked."""

    async def story(world: World) -> None:
        east = world["east"]
        east.core_wire.state = "cut"
        first, second = east.peers.choose("A-1")
        east.peer_wires[first].state = "refused"
        receipt = await east.submission.pay(world.wish("k1"))
        assert receipt.state == "accepted"
        (row,) = east.journal.reader.page("own", after=0).items
        assert row.confirmed == [second]
        assert set(row.witnesses) == {first, second}

    live(tmp_path, story, names=("east", "north", "west"))


def test_the_customers_disconnect_stops_nothing(tmp_path: Path) -> None:
    """The customer goes away in the middle; the payment is posted all the same."""

    async def story(world: World) -> None:
        east = world["east"]
        asking = asyncio.create_task(east.submission.pay(world.wish("k1")))
        await asyncio.sleep(UNDER_WAY_SECONDS)
        asking.cancel()
        await asyncio.sleep(1)
        assert asking.cancelled()
        assert len(world.core.ledger) == 1
        assert east.breaker.snapshot().failure_rate == 0

    live(tmp_path, story)


def test_over_a_limit_only_the_core_can_accept(tmp_path: Path) -> None:
    """With the core: its commit only, no copy, with a last moment. Without it: a refusal that names the limit."""

    async def story(world: World) -> None:
        east = world["east"]
        receipt = await east.submission.pay(world.wish("k1", 60_000))
        assert receipt.state == "posted"
        (row,) = east.journal.reader.page("own", after=0).items
        assert row.witnesses == []
        assert row.intent.not_after == row.intent.accepted_at + timedelta(seconds=30)
        world.core.up = False
        await asyncio.sleep(4)
        with pytest.raises(OverLimit) as refused:
            await east.submission.pay(world.wish("k2", 60_000))
        assert refused.value.which == "per_payment"

    live(tmp_path, story)


def test_an_over_limit_payment_that_the_core_never_saw_expires(tmp_path: Path) -> None:
    """Its last moment passes while the core is cut off: it ends rejected, and nothing is posted behind the back."""

    async def story(world: World) -> None:
        east = world["east"]
        east.core_wire.state = "cut"
        receipt = await east.submission.pay(world.wish("k1", 60_000))
        assert receipt.state == "checking"
        await asyncio.sleep(40)
        east.core_wire.state = "up"
        await asyncio.sleep(15)
        known = await east.submission.ask("A-1", receipt.intent_id)
        assert known is not None
        assert (known.state, known.reason) == ("rejected", "expired")
        assert world.core.ledger == []

    live(tmp_path, story)


def test_two_at_once_cannot_both_use_the_last_of_a_limit(tmp_path: Path) -> None:
    """Reservations are made in the recording transaction; outcomes release them."""

    async def story(world: World) -> None:
        east = world["east"]
        world.core.up = False
        await asyncio.sleep(4)
        results = await asyncio.gather(
            *(east.submission.pay(world.wish(f"k{number}", 40_000)) for number in range(5)),
            return_exceptions=True,
        )
        accepted = [result for result in results if not isinstance(result, BaseException)]
        refused = [result for result in results if isinstance(result, OverLimit)]
        assert (len(accepted), len(refused)) == (2, 3)
        assert {error.which for error in refused} == {"account_day_sum"}
        world.core.up = True
        await asyncio.sleep(15)
        world.core.up = False
        await asyncio.sleep(4)
        assert (await east.submission.pay(world.wish("later", 40_000))).state == "accepted"

    live(tmp_path, story)


def test_a_replaced_edge_takes_nothing_on_its_own_until_its_siblings_were_counted(
    tmp_path: Path,
) -> None:
    """Its share is zero at first; then it is what its siblings' copies of its lost journal leave of it."""

    async def story(world: World) -> None:
        east = world["east"]
        world.core.up = False
        await asyncio.sleep(4)
        await east.submission.pay(world.wish("k1", 30_000))
        await east.crash(lose_disk=True)
        world.limits = Limits(edge_outstanding_cents=50_000)
        east.peer_wires["west"].state = "refused"
        east.start()
        await asyncio.sleep(2)
        known = [east.submission.share_known]
        east.peer_wires["west"].state = "up"
        await asyncio.sleep(4)
        assert [*known, east.submission.share_known] == [False, True]
        with pytest.raises(OverLimit) as refused:
            await east.submission.pay(world.wish("k2", 30_000, account_id="A-2"))
        assert refused.value.which == "edge_outstanding"
        assert (
            await east.submission.pay(world.wish("k3", 10_000, account_id="A-2"))
        ).state == "accepted"

    live(tmp_path, story)


def test_one_payment_has_one_time_at_every_edge(tmp_path: Path) -> None:
    """Posted through one edge and repeated at another later, it was accepted when it was accepted first."""

    async def story(world: World) -> None:
        first = await world["east"].submission.pay(world.wish("k1"))
        await asyncio.sleep(60)
        again = await world["west"].submission.pay(world.wish("k1"))
        assert (again.state, again.accepted_at) == ("posted", first.accepted_at)
        known = await world["west"].submission.ask(again.account_id, again.intent_id)
        assert known is not None
        assert known.accepted_at == first.accepted_at
        assert len(world.core.ledger) == 1

    live(tmp_path, story)


def test_an_expelled_node_promises_nothing(tmp_path: Path) -> None:
    """Its core would reject what it accepts, though siblings still keep copies; what was taken before is still told."""

    async def story(world: World) -> None:
        east = world["east"]
        first = await east.submission.pay(world.wish("k1"))
        world.core.expels = True
        await asyncio.sleep(2)
        assert not east.submission.payments_open
        with pytest.raises(NotTaken, match="not_registered"):
            await east.submission.pay(world.wish("k2"))
        assert await east.submission.pay(world.wish("k1")) == first
        assert east.journal.reader.page("own", after=0).last_ordinal == 1
        world.core.expels = False
        await asyncio.sleep(2)
        assert (await east.submission.pay(world.wish("k2"))).state == "posted"

    live(tmp_path, story)


@pytest.mark.parametrize("amount", [0, -1])
def test_an_amount_must_be_positive(tmp_path: Path, amount: int) -> None:
    """Nothing is recorded for less."""

    async def story(world: World) -> None:
        with pytest.raises(InvalidPayment):
            await world["east"].submission.pay(world.wish("k1", amount))
        assert world["east"].journal.reader.page("own", after=0).last_ordinal == 0

    live(tmp_path, story)


def test_a_repeat_at_the_other_edge_finds_the_copy(tmp_path: Path) -> None:
    """With the core away, the sibling that holds the copy answers for it instead of recording a second one."""

    async def story(world: World) -> None:
        world.core.up = False
        await asyncio.sleep(4)
        first = await world["east"].submission.pay(world.wish("k1"))
        second = await world["west"].submission.pay(world.wish("k1"))
        assert second == first
        assert world["west"].journal.reader.page("own", after=0).last_ordinal == 0

    live(tmp_path, story)


def test_a_receipt_is_found_at_an_edge_that_never_heard_of_it(tmp_path: Path) -> None:
    """An edge without record or copy asks its siblings; another account's payment stays unknown."""

    async def story(world: World) -> None:
        world.core.up = False
        await asyncio.sleep(4)
        receipt = await world["east"].submission.pay(world.wish("k1"))
        holder = next(
            name for name in ("north", "west") if world[name].journal.reader.queue(None).copies_held
        )
        other = "north" if holder == "west" else "west"
        assert world[other].journal.reader.receipt("A-1", receipt.intent_id) is None
        found = await world[other].submission.ask("A-1", receipt.intent_id)
        assert found is not None
        assert found.state == "accepted"
        assert await world[other].submission.ask("A-2", receipt.intent_id) is None

    live(tmp_path, story, names=("east", "north", "west"))


class Liar(WitnessHolder):
    """A sibling that answers what it likes when it is asked."""

    lie: Receipt

    def ask(self, ask: Ask) -> Receipt | None:
        """Lie."""
        return self.lie


def test_a_siblings_final_word_needs_the_cores_signature(tmp_path: Path) -> None:
    """Asked for a payment, a sibling that lies is not repeated; what the core signed is, before all else."""

    async def story(world: World) -> None:
        world.core.up = False
        await asyncio.sleep(4)
        receipt = await world["east"].submission.pay(world.wish("k1"))
        holder = next(
            name for name in ("north", "west") if world[name].journal.reader.queue(None).copies_held
        )
        (copy,) = world[holder].journal.reader.page("copies", after=0).items
        other = world["north" if holder == "west" else "west"]
        genuine = world.core.decide(copy.intent)
        true = msgspec.structs.replace(
            receipt,
            state="posted",
            decided_at=genuine.decided_at,
            epoch=1,
            shard="0",
            seq=genuine.seq,
            signature=genuine.signature,
        )
        liar = Liar(world["east"].journal, public_keys={}, core_key="")
        world["east"].holder = liar
        for liar.lie in (
            msgspec.structs.replace(true, signature=""),
            msgspec.structs.replace(true, state="rejected", reason="past_not_after"),
            msgspec.structs.replace(true, amount_cents=1),
            msgspec.structs.replace(true, intent_id="another"),
        ):
            found = await other.submission.ask("A-1", receipt.intent_id)
            assert found is not None
            assert found.state == "accepted"
        liar.lie = true
        found = await other.submission.ask("A-1", receipt.intent_id)
        assert found is not None
        assert (found.state, found.outcome()) == ("posted", genuine)

    live(tmp_path, story, names=("east", "north", "west"))


@pytest.mark.parametrize("seconds", [0.0, 5.0])
def test_an_edge_that_cannot_ask_everybody_does_not_deny_a_payment(
    tmp_path: Path, seconds: float
) -> None:
    """Who was not reached may hold it: "no such payment" would have the customer pay again."""

    async def story(world: World) -> None:
        assert await world["north"].submission.ask("A-1", "nobody's") is None
        world["north"].peer_wires["east"].state = "cut"
        await asyncio.sleep(seconds)
        with pytest.raises(OutcomeUnknown):
            await world["north"].submission.ask("A-1", "nobody's")

    live(tmp_path, story, names=("east", "north", "west"))
