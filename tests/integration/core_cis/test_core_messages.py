"""What customers send besides payments is decided once, by the rule of its type, in whatever order edges bring it."""

import itertools
from datetime import date, timedelta
from typing import Any, Literal

import msgspec
import pytest
from click.testing import CliRunner

from cache_sync.documents import DecidedMessageBody
from cache_sync.packed_bodies import unpack_body
from core_cis.__main__ import main
from core_cis.bookkeeping import post
from core_cis.books import read_books
from core_cis.cases import read_cases, retry_case
from core_cis.decisions import Decision
from core_cis.domain import ledger
from core_cis.errors import TicketRefused
from core_cis.forgetting import erase
from core_cis.instants import from_text, local_date
from core_cis.intake import Intake
from core_cis.reconcile import reconcile
from core_cis.reconciliation import Journal
from core_cis.settings import ServerSettings
from core_cis.store import CoreStore
from core_cis.taking_back import take_back
from core_cis.tickets import close_ticket, list_tickets
from failover.intents import DecidedIntent, Intent
from failover.message_bodies import (
    MessageBody,
    MeterReading,
    OutageReport,
    decode_body,
)
from failover.peer_messages import RecordedIntent

ACCOUNT, METER = "A-1001", "M-1001"
DAY = date(2026, 3, 9)


def place_meter(core: Any) -> None:
    """Put a meter at the first account."""
    with core.open() as store, store.transaction() as tx:
        tx.connection.execute(
            "INSERT INTO service_points (service_point_id, account_id, address) VALUES ('SP-1', ?, '1 Main St')",
            (ACCOUNT,),
        )
        tx.connection.execute(
            "INSERT INTO meters (meter_id, service_point_id) VALUES (?, 'SP-1')", (METER,)
        )


def reading(register_kwh: int, read_on: date = DAY, meter_id: str = METER) -> MessageBody:
    """Read the meter."""
    return MeterReading(
        salt="salt",
        service_point_id="SP-1",
        meter_id=meter_id,
        read_on=read_on,
        register_wh=register_kwh * 1000,
    )


def reads(store: CoreStore) -> list[tuple[date, int]]:
    """List what the register is known to have shown, oldest first, in kWh."""
    rows = store.connection.execute(
        "SELECT read_at, register_wh FROM register_reads ORDER BY read_at"
    ).fetchall()
    return [(local_date(from_text(at), "America/Chicago"), wh // 1000) for at, wh in rows]


def shown(store: CoreStore, intent: Intent) -> DecidedMessageBody:
    """Read a message's published document."""
    (body,) = store.connection.execute(
        "SELECT body FROM documents WHERE account_id = ? AND kind = 'message' AND key = ?",
        (intent.account_id, intent.intent_id),
    ).fetchone()
    return msgspec.json.decode(unpack_body(body), type=DecidedMessageBody)


async def test_reading_is_recorded_once_with_its_document(core: Any) -> None:
    """Delivered by both holders, again and again: one read, one document, one outcome; no money moves."""
    place_meter(core)
    intent = core.message("r1", reading(12_345))
    async with core.serving() as client:
        (first,) = (await core.deliver(client, intent)).outcomes
        again = await core.deliver(client, intent, intent, edge="west")
    assert (first.state, first.reason, first.value_date) == ("posted", "", None)
    assert again.outcomes == [first, first]
    with core.open() as store:
        assert reads(store) == [(DAY, 12_345)]
        document = shown(store, intent)
        assert decode_body(bytes(document.content)) == intent.body
        assert (document.state, document.type) == ("posted", "reading")
        counts = store.connection.execute(
            "SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM inbox), (SELECT count(*) FROM payments)"
        ).fetchone()
        assert counts == (1, 1, 0)


def out(extent: Literal["all", "part"] = "all", service_point_id: str = "SP-1") -> MessageBody:
    """Report an outage."""
    return OutageReport(salt="salt", service_point_id=service_point_id, extent=extent)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_one_ticket_for_a_service_point_and_event(file_core: Any, order: tuple[int, ...]) -> None:
    """Reports of one night, of two edges and in any order, are one ticket; those of the next day are another."""
    place_meter(file_core)
    hours = (0, 9, 48)
    reports = [
        file_core.message(
            f"o{number}",
            out(),
            edge=("east", "west")[number % 2],
            accepted_at=file_core.clock.now() + timedelta(hours=hour),
        )
        for number, hour in enumerate(hours)
    ]
    with file_core.open() as store:
        intake = Intake(store, ServerSettings())
        told = {}
        for number in order:
            (outcome,) = intake.take([reports[number]], delivered_by="east").outcomes
            told[number] = outcome
        tickets = list_tickets(store.connection)
    assert {each.state for each in told.values()} == {"posted"}
    assert told[0].case_number == told[1].case_number != told[2].case_number
    assert [each.reason for each in told.values()].count("joined_ticket") == 1
    spans = [(each.opened_at, each.reported_at) for each in tickets]
    start = file_core.clock.now()
    assert spans == [
        (start, start + timedelta(hours=9)),
        (start + timedelta(hours=48), start + timedelta(hours=48)),
    ]


async def test_closed_ticket_ends_its_event(core: Any) -> None:
    """What was accepted before joins it, also when it comes late; what was accepted after is a new one."""
    place_meter(core)
    first, late = core.message("o1", out()), core.message("o2", out("part"), edge="west")
    async with core.serving() as client:
        (opened,) = (await core.deliver(client, first)).outcomes
        core.clock.move(600)
        with core.open() as store, store.transaction() as tx:
            close_ticket(tx, opened.case_number)
        core.clock.move(600)
        (joined,) = (await core.deliver(client, late, edge="west")).outcomes
        (again,) = (await core.deliver(client, core.message("o3", out()))).outcomes
    assert joined.case_number == opened.case_number != again.case_number
    assert (joined.reason, again.reason) == ("joined_ticket", "")
    with core.open() as store:
        assert [each.ticket_number for each in list_tickets(store.connection)] == [
            again.case_number
        ]
        with pytest.raises(TicketRefused), store.transaction() as tx:
            close_ticket(tx, opened.case_number)


async def test_outage_elsewhere_is_rejected(core: Any) -> None:
    """Of a service point that is not the account's."""
    place_meter(core)
    async with core.serving() as client:
        intent = core.message("o1", out(service_point_id="SP-other"))
        (outcome,) = (await core.deliver(client, intent)).outcomes
    assert (outcome.state, outcome.reason) == ("rejected", "service_point_unknown")


def test_tickets_are_listed_and_closed_on_the_command_line(file_core: Any) -> None:
    """With a reason, which the audit log keeps; a second time is refused."""
    place_meter(file_core)
    with file_core.open() as store:
        Intake(store, ServerSettings()).take([file_core.message("o1", out())], delivered_by="east")
    data = ["--data", str(file_core.data_dir)]
    (ticket,) = msgspec.json.decode(
        CliRunner().invoke(main, ["tickets", "list", *data, "--json"]).stdout
    )
    close = ["tickets", "close", *data, ticket["ticket_number"], "--reason", "fixed"]
    assert CliRunner().invoke(main, close).exit_code == 0
    assert CliRunner().invoke(main, close).exit_code == 1
    assert CliRunner().invoke(main, ["tickets", "list", *data]).stdout == ""
    assert "ticket.close" in CliRunner().invoke(main, ["audit", "list", *data]).stdout


async def test_body_is_kept_in_one_place(core: Any) -> None:
    """The inbox, which nobody may change, holds an intent without it."""
    place_meter(core)
    async with core.serving() as client:
        await core.deliver(client, core.message("r1", reading(12_345)))
    with core.open() as store:
        (kept,) = store.connection.execute("SELECT intent FROM inbox").fetchone()
    assert msgspec.msgpack.decode(kept, type=Intent).body is msgspec.UNSET


@pytest.mark.parametrize("order_of", ["as accepted", "reordered"])
async def test_older_reading_is_history(core: Any, order_of: str) -> None:
    """Two edges drain in either order: the books end equal, and the newest day counts."""
    place_meter(core)
    older = core.message("r1", reading(12_000, DAY - timedelta(days=3)), edge="east")
    newer = core.message("r2", reading(12_100), edge="west")
    order = [newer, older] if order_of == "reordered" else [older, newer]
    async with core.serving() as client:
        outcomes = [(await core.deliver(client, each)).outcomes[0] for each in order]
    assert [each.state for each in outcomes] == ["posted", "posted"]
    assert [each.reason for each in outcomes] == [
        "",
        "kept_as_history" if order_of == "reordered" else "",
    ]
    with core.open() as store:
        assert reads(store) == [(DAY - timedelta(days=3), 12_000), (DAY, 12_100)]


@pytest.mark.parametrize("order_of", ["as accepted", "reordered"])
async def test_of_one_day_what_was_accepted_last_counts(core: Any, order_of: str) -> None:
    """A customer who corrects a reading at another edge is heard, whichever arrives first."""
    place_meter(core)
    wrong = core.message("r1", reading(12_900), edge="east")
    core.clock.move(60)
    right = core.message("r2", reading(12_090), edge="west")
    order = [right, wrong] if order_of == "reordered" else [wrong, right]
    async with core.serving() as client:
        for each in order:
            (outcome,) = (await core.deliver(client, each)).outcomes
            assert outcome.state == "posted"
    with core.open() as store:
        assert reads(store) == [(DAY, 12_090)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (reading(11_999), "reading_decreased"),
        (reading(12_000 + 2 * 300 + 1), "reading_too_high"),
        (reading(12_001, date(2026, 3, 11)), "read_in_future"),
        (reading(10**10), "register_out_of_range"),
        (reading(12_001, meter_id="M-other"), "meter_unknown"),
    ],
)
async def test_rejects_for_a_typed_reason(core: Any, body: MessageBody, reason: str) -> None:
    """What cannot be is final, says why, and changes nothing."""
    place_meter(core)
    async with core.serving() as client:
        await core.deliver(client, core.message("r1", reading(12_000, DAY - timedelta(days=2))))
        intent = core.message("r2", body)
        (outcome,) = (await core.deliver(client, intent)).outcomes
    assert (outcome.state, outcome.reason) == ("rejected", reason)
    with core.open() as store:
        assert len(reads(store)) == 1
        assert shown(store, intent).reason == reason


@pytest.mark.parametrize(
    ("account_id", "reason"), [("A-9999", "unknown_account"), ("A-1003", "account_closed")]
)
async def test_account_must_be_open(core: Any, account_id: str, reason: str) -> None:
    """Whatever is sent."""
    async with core.serving() as client:
        intent = core.message("r1", reading(1), account_id=account_id)
        (outcome,) = (await core.deliver(client, intent)).outcomes
    assert (outcome.state, outcome.reason) == ("rejected", reason)
    with core.open() as store:
        assert store.connection.execute("SELECT body FROM messages").fetchone() == (None,)


async def test_what_a_forgotten_customer_said_is_emptied(core: Any) -> None:
    """The row stays as what was decided; its words go, and its document with the others."""
    place_meter(core)
    async with core.serving() as client:
        intent = core.message("r1", reading(12_345))
        await core.deliver(client, intent)
    with core.open() as store:
        with store.transaction(alone=True) as tx:
            post(
                tx,
                ledger.adjustment(
                    account_id=ACCOUNT,
                    key="closing",
                    amount_cents=-8000,
                    value_date=DAY,
                    description="Settled",
                ),
            )
        with store.transaction(alone=True) as tx:
            erase(tx, "C-1", len(store.shards))
        kept = store.connection.execute("SELECT state, body FROM messages").fetchall()
        document = store.connection.execute(
            "SELECT body FROM documents WHERE kind = 'message'"
        ).fetchone()
        report = reconcile([], read_books(store.connection))
    assert (kept, document) == ([("posted", None)], (None,))
    assert report.differences == []


async def test_outcome_comes_back_after_a_restore(core: Any) -> None:
    """A reading that a restored core has forgotten is in its books again, as it was decided."""
    place_meter(core)
    restore = core.back_up()
    intent = core.message("r1", reading(12_345))
    async with core.serving() as client:
        (outcome,) = (await core.deliver(client, intent)).outcomes
    restore()
    with core.open() as store:
        back = take_back(
            store, [DecidedIntent(intent, outcome)], ServerSettings(), delivered_by="east"
        )
        assert (back.entered, back.outcomes[0].state) == (1, "posted")
        assert reads(store) == [(DAY, 12_345)]
        again = take_back(
            store, [DecidedIntent(intent, outcome)], ServerSettings(), delivered_by="west"
        )
        assert (again.entered, len(reads(store))) == (0, 1)


async def test_message_under_review_is_retried_with_what_it_said(core: Any) -> None:
    """The core failed on it three times; an operator's retry judges the words that were kept."""
    place_meter(core)
    intent = core.message("r1", reading(12_345))

    def fails(*_: object) -> Decision:
        raise RuntimeError

    with core.open() as store:
        failing = Intake(store, ServerSettings(), fails)
        tries = [
            failing.take([intent], delivered_by="east")
            for _ in range(ServerSettings().attempts_max)
        ]
        assert [each.dead_lettered for each in tries] == [0, 0, 1]
        (case,) = read_cases(store.connection)
        assert (case.type, case.amount) == ("reading", 0)
        with store.transaction() as tx:
            done = retry_case(tx, case.case_number, Intake(store, ServerSettings()))
        assert done.state == "posted"
        assert reads(store) == [(DAY, 12_345)]
        assert shown(store, intent).state == "posted"


async def test_emptied_body_cannot_be_decided(core: Any) -> None:
    """Nobody knows any more what was said: rejected, for good."""
    place_meter(core)
    async with core.serving() as client:
        intent = core.message("r1", reading(12_345)).without_body()
        (outcome,) = (await core.deliver(client, intent)).outcomes
    assert (outcome.state, outcome.reason) == ("rejected", "body_emptied")


async def test_forged_body_is_refused(core: Any) -> None:
    """A deliverer cannot put other words under an edge's signature."""
    place_meter(core)
    forged = msgspec.structs.replace(core.message("r1", reading(12_345)), body=reading(1))
    async with core.serving() as client:
        assert (await core.deliver(client, forged, edge="west")).outcomes == []


async def test_payment_and_message_under_one_key_conflict(core: Any) -> None:
    """Two cut-off edges took different things under one key: the first wins, the other is rejected."""
    place_meter(core)
    paid = core.intent("shared")
    sent = core.message("shared", reading(12_345), edge="west")
    async with core.serving() as client:
        outcomes = (await core.deliver(client, paid, sent)).outcomes
    told = {each.fingerprint: (each.state, each.reason) for each in outcomes}
    assert told == {
        paid.fingerprint: ("posted", ""),
        sent.fingerprint: ("rejected", "id_conflict"),
    }


async def test_reconciliation_counts_messages_apart(core: Any) -> None:
    """They are in no sum of money; one on its way makes it incomplete, a lost row is a difference."""
    place_meter(core)
    sent, waiting = core.message("r1", reading(12_345)), core.message("r2", reading(12_400))
    async with core.serving() as client:
        (outcome,) = (await core.deliver(client, sent)).outcomes
    journal = Journal(
        node_id="east",
        incarnation="east-journal",
        own=[
            RecordedIntent(position=1, source="own", intent=sent, state="settled", outcome=outcome),
            RecordedIntent(position=2, source="own", intent=waiting, state="offered"),
        ],
        last_ordinal=2,
    )
    with core.open() as store:
        report = reconcile([journal], read_books(store.connection))
        assert (report.result, report.differences, report.payments) == ("incomplete", [], [])
        (sums,) = report.messages
        assert (sums.type, sums.accepted, sums.posted, sums.pending) == ("reading", 2, 1, 1)
        with store.transaction() as tx:
            tx.connection.execute("DELETE FROM messages")
        report = reconcile([journal], read_books(store.connection))
    assert [each.kind for each in report.differences] == ["message_differs"]
