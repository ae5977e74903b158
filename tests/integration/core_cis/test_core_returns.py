"""A restored core takes back what it once decided, once, and decides nothing new until every edge was heard."""

from datetime import date
from typing import Any

import httpx
import msgspec
import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from core_cis.__main__ import main
from core_cis.awaited_edges import await_every_edge, await_nobody, awaited_edges
from core_cis.books import read_books
from core_cis.reconcile import reconcile
from core_cis.registry import revoke_edge
from failover.intents import DecidedBatch, DecidedIntent, Intent, IntentBatch, Outcome, OutcomeBatch
from failover.signing import Signer, verify_outcome

ACCOUNT = "A-1001"


async def bring(
    core: Any, client: httpx.AsyncClient, *items: DecidedIntent, edge: str = "east", done: int = 0
) -> OutcomeBatch:
    """Bring outcomes back as an edge."""
    batch = DecidedBatch(items=list(items), complete_for=done or None)
    answer = await client.post(
        "/outcomes", content=msgspec.msgpack.encode(batch), headers=core.node(edge)
    )
    assert answer.status_code == 200, answer.text
    return msgspec.msgpack.decode(answer.content, type=OutcomeBatch)


async def decided(core: Any, client: httpx.AsyncClient, *intents: Intent) -> list[DecidedIntent]:
    """Have intents decided."""
    outcomes = (await core.deliver(client, *intents)).outcomes
    return [DecidedIntent(*both) for both in zip(intents, outcomes, strict=True)]


def raise_epoch(core: Any) -> None:
    """Raise the epoch as an operator does after a restore."""
    done = CliRunner().invoke(main, ["epoch", "raise", "--data", str(core.data_dir)])
    assert done.exit_code == 0, done.output


def rows(core: Any, sql: str) -> list[Any]:
    """Read the books."""
    with core.open() as store:
        found: list[Any] = store.connection.execute(sql).fetchall()
    return found


async def test_what_the_backup_lacks_goes_in_as_it_was(core: Any) -> None:
    """State, value date and time of decision stay; the position is of the new epoch; nothing goes in twice."""
    async with core.serving() as client:
        (kept,) = await decided(core, client, core.intent("before"))
    restore = core.back_up()
    async with core.serving() as client:
        past = await decided(
            core,
            client,
            core.intent("after", amount_cents=700),
            core.intent("refused", method_id="pm-old"),
        )
    restore()
    core.clock.move(3 * 24 * 3600)
    raise_epoch(core)
    async with core.serving() as client:
        for edge in ("east", "west", "east"):
            answer = await bring(core, client, kept, *past, edge=edge)
            for item, outcome in zip([kept, *past], answer.outcomes, strict=True):
                same = msgspec.structs.replace(
                    outcome, epoch=1, seq=item.outcome.seq, signature=item.outcome.signature
                )
                assert same == item.outcome
                assert outcome.epoch == 2
                assert verify_outcome(outcome, core.configs[edge].core_public_key)
        for edge in ("east", "west"):
            await bring(core, client, edge=edge, done=2)
        again = (await core.deliver(client, past[0].intent)).outcomes
    assert [(one.state, one.value_date) for one in again] == [("posted", date(2026, 3, 10))]
    assert rows(core, "SELECT count(*) FROM inbox") == [(3,)]
    payments = rows(
        core, "SELECT amount_cents, state, value_date FROM payments ORDER BY amount_cents, state"
    )
    assert payments == [
        (700, "posted", "2026-03-10"),
        (2500, "posted", "2026-03-10"),
        (2500, "rejected", None),
    ]
    ledger = rows(core, "SELECT value_date FROM ledger_transactions WHERE kind = 'payment'")
    assert ledger == [("2026-03-10",), ("2026-03-10",)]
    with core.open() as store:
        assert reconcile([], read_books(store.connection)).differences == []


async def test_nothing_new_is_decided_until_every_edge_was_heard(core: Any) -> None:
    """503 for intents, told with every probe; what another epoch's completion says counts for nothing."""
    raise_epoch(core)
    batch = msgspec.msgpack.encode(IntentBatch([core.intent()]))

    async def offered(client: httpx.AsyncClient) -> tuple[int, bool]:
        answer = await client.post("/intents", content=batch, headers=core.node())
        probe = await client.get("/probe", headers=core.node())
        return answer.status_code, probe.json()["edges_awaited"]

    async with core.serving() as client:
        assert await offered(client) == (503, True)
        refused = await client.post("/intents", content=batch, headers=core.node())
        assert refused.json()["type"].endswith("edges_awaited")
        await bring(core, client, done=2)
        assert await offered(client) == (503, True)
        await bring(core, client, edge="west", done=1)
        assert await offered(client) == (503, True)
        await bring(core, client, edge="west", done=2)
        assert await offered(client) == (200, False)


@pytest.mark.parametrize("how", ["proceed", "revoke"])
async def test_an_edge_that_is_lost_need_not_be_waited_for(core: Any, how: str) -> None:
    """An operator says so, or revokes it."""
    raise_epoch(core)
    async with core.serving() as client:
        await bring(core, client, done=2)
    with core.open() as store:
        assert awaited_edges(store.connection) == ["west"]
    told = CliRunner().invoke(main, ["epoch", "show", "--data", str(core.data_dir)])
    assert "edge west" in told.output
    command = ["epoch", "proceed"] if how == "proceed" else ["edges", "revoke", "west"]
    done = CliRunner().invoke(main, [*command, "--data", str(core.data_dir)])
    assert done.exit_code == 0, done.output
    async with core.serving() as client:
        assert len((await core.deliver(client, core.intent())).outcomes) == 1


async def test_only_what_this_core_signed_is_taken_back(core: Any) -> None:
    """Not what an edge made up, nor one intent's outcome for another's, nor an intent that no edge recorded."""
    restore = core.back_up()
    async with core.serving() as client:
        (past,) = await decided(core, client, core.intent())
    restore()
    raise_epoch(core)
    signer = Signer(core.configs["west"].signing_key)
    bigger = core.intent("another", amount_cents=9900)
    rejected = msgspec.structs.replace(past.outcome, state="rejected")
    forged = [
        DecidedIntent(past.intent, rejected),
        DecidedIntent(past.intent, signer.sign_outcome(rejected)),
        DecidedIntent(bigger, past.outcome),
        DecidedIntent(msgspec.structs.replace(past.intent, ordinal=99), past.outcome),
    ]
    async with core.serving() as client:
        assert (await bring(core, client, *forged, edge="west")).outcomes == []
        assert rows(core, "SELECT count(*) FROM inbox") == [(0,)]
        stranger = await client.post(
            "/outcomes", content=msgspec.msgpack.encode(DecidedBatch(items=[past]))
        )
        assert stranger.status_code == 401
        assert len((await bring(core, client, past, *forged)).outcomes) == 1


async def test_a_winner_and_its_loser_keep_their_places_in_either_order(core: Any) -> None:
    """The rejected one came under the other's id; whichever is brought first, the same one has won."""
    restore = core.back_up()
    async with core.serving() as client:
        winner, loser = await decided(
            core, client, core.intent("one", amount_cents=100), core.intent("one", amount_cents=200)
        )
    restore()
    raise_epoch(core)
    async with core.serving() as client:
        answer = await bring(core, client, loser, winner)
    assert [(one.state, one.reason) for one in answer.outcomes] == [
        ("rejected", "id_conflict"),
        ("posted", ""),
    ]
    assert rows(core, "SELECT won, state FROM inbox ORDER BY won") == [
        (0, "rejected"),
        (1, "posted"),
    ]
    assert rows(core, "SELECT count(*) FROM ledger_transactions WHERE kind = 'payment'") == [(1,)]


async def test_a_contradiction_is_put_under_review_and_never_posted(core: Any) -> None:
    """An operator did not wait, and another payment has the id by now."""
    restore = core.back_up()
    async with core.serving() as client:
        (past,) = await decided(core, client, core.intent("one", amount_cents=100))
    restore()
    async with core.serving() as client:
        await decided(core, client, core.intent("one", amount_cents=200))
        (outcome,) = (await bring(core, client, past)).outcomes
        repeated = (await core.deliver(client, past.intent)).outcomes
    assert (outcome.state, outcome.reason, outcome.value_date) == (
        "dead_letter",
        "id_conflict",
        None,
    )
    assert outcome.case_number
    assert repeated == [outcome]
    assert rows(core, "SELECT count(*) FROM ledger_transactions WHERE kind = 'payment'") == [(1,)]


async def test_a_payment_on_an_account_that_is_not_there_is_left_for_later(core: Any) -> None:
    """The account came after the backup: the payment has no outcome yet, and what was brought with it has."""
    intent, ghost = core.intent("here"), core.intent("gone", account_id="A-7777")
    restore = core.back_up()
    async with core.serving() as client:
        (here,) = await decided(core, client, intent)
    restore()
    signer = Signer(core.signing_key())
    told = Outcome(
        intent_id=ghost.intent_id,
        fingerprint=ghost.fingerprint,
        state="posted",
        accepted_at=ghost.accepted_at,
        decided_at=core.clock.now(),
        value_date=date(2026, 3, 10),
        epoch=1,
        shard="0",
        seq=99,
    )
    async with core.serving() as client:
        with capture_logs() as logged:
            answer = await bring(
                core, client, DecidedIntent(ghost, signer.sign_outcome(told)), here
            )
    (alarm,) = [event for event in logged if event.get("alarm") == "not_taken_back"]
    assert alarm["error"] == "IntegrityError"
    assert ghost.account_id not in str(alarm)
    assert [one.intent_id for one in answer.outcomes] == [intent.intent_id]
    assert rows(core, "SELECT count(*) FROM inbox") == [(1,)]


async def test_the_list_of_awaited_edges_is_of_active_ones(core: Any) -> None:
    """One that was revoked before is not waited for; asked again, nobody is."""
    with core.open() as store:
        with store.transaction() as tx:
            revoke_edge(tx, "west")
        with store.transaction() as tx:
            assert await_every_edge(tx, 2) == ["east"]
        with store.transaction() as tx:
            assert await_nobody(tx) == ["east"]
            assert await_nobody(tx) == []
