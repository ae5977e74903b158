"""Services that customers ask for, at the core: one ticket, the wish that holds, and what operators see of it."""

import itertools
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from core_cis.__main__ import main
from core_cis.errors import ForgetRefused
from core_cis.forgetting import erase
from core_cis.intake import Intake
from core_cis.settings import ServerSettings
from core_cis.taking_back import take_back
from core_cis.tickets import Wish, close_ticket, list_tickets
from failover.intents import DecidedIntent
from failover.message_bodies import ServiceRequest
from tests.integration.core_cis.conftest import ACCOUNT, OTHER_ACCOUNT

SENT_ON = date(2026, 3, 10)
"""The local day of the core's clock."""


def ask(text: str = "", **more: Any) -> ServiceRequest:
    """Ask for something."""
    return ServiceRequest(**({"salt": "salt", "kind": "move_out", "text": text} | more))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_one_ticket_and_the_wish_accepted_last(core: Any, order: tuple[int, ...]) -> None:
    """Of two edges and in any order, delivered twice; another kind, another account have tickets of their own."""
    requests = [
        core.message(
            f"s{number}",
            ask(f"wish {number}"),
            edge=("east", "west")[number % 2],
            accepted_at=core.clock.now() + timedelta(minutes=number),
        )
        for number in range(3)
    ]
    others = [
        core.message("tree", ask(kind="tree")),
        core.message("neighbour", ask(), account_id=OTHER_ACCOUNT),
    ]
    async with core.serving() as client:
        told = [(await core.deliver(client, requests[n])).outcomes[0] for n in order]
        await core.deliver(client, *requests, edge="west")
        apart = (await core.deliver(client, *others)).outcomes
    assert {each.state for each in told} == {"posted"}
    assert told[0].reason == ""
    assert told[1].reason == ("later_wish" if order[1] > order[0] else "superseded")
    assert told[2].reason == ("later_wish" if order[2] == 2 else "superseded")
    (number,) = {each.case_number for each in told}
    assert len({number, *(each.case_number for each in apart)}) == 3
    with core.open() as store:
        (ticket,) = [
            each for each in list_tickets(store.connection) if each.ticket_number == number
        ]
    assert ticket.wish == Wish(kind="move_out", wished_on=None, text="wish 2")
    assert (ticket.opened_at, ticket.reported_at) == (
        requests[0].accepted_at,
        requests[2].accepted_at,
    )


async def test_closed_ticket_is_done_with_the_wish_that_it_had(core: Any) -> None:
    """What was said before it comes late and is history; what was said after it was seen by nobody: a new ticket."""
    first, seen, unseen = (
        core.message(
            f"s{number}",
            ask(f"wish {number}"),
            edge=edge,
            accepted_at=core.clock.now() + timedelta(minutes=number),
        )
        for number, edge in enumerate(("west", "east", "west"))
    )
    core.clock.move(600)
    async with core.serving() as client:
        (opened,) = (await core.deliver(client, seen)).outcomes
        with core.open() as store, store.transaction() as tx:
            close_ticket(tx, opened.case_number)
        late, fresh = (await core.deliver(client, first, unseen, edge="west")).outcomes
    assert (late.case_number, late.reason) == (opened.case_number, "superseded")
    assert fresh.case_number != opened.case_number
    assert fresh.reason == ""
    with core.open() as store:
        (ticket,) = list_tickets(store.connection)
        assert ticket.ticket_number == fresh.case_number
        assert ticket.wish == Wish(kind="move_out", wished_on=None, text="wish 2")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (ask(wished_on=SENT_ON - timedelta(days=1)), "day_passed"),
        (ask(wished_on=SENT_ON + timedelta(days=91)), "day_too_far"),
        (ask(kind="other"), "text_missing"),
        (ask("x" * 501), "text_too_long"),
        (ask("\x1b[2J"), "text_unreadable"),
    ],
)
async def test_rejects_for_a_typed_reason(core: Any, body: ServiceRequest, reason: str) -> None:
    """What cannot be is final, says why, and opens no ticket."""
    async with core.serving() as client:
        (outcome,) = (await core.deliver(client, core.message("s1", body))).outcomes
    assert (outcome.state, outcome.reason) == ("rejected", reason)
    with core.open() as store:
        assert list_tickets(store.connection, everything=True) == []


async def test_day_is_judged_by_when_it_was_sent(core: Any) -> None:
    """Drained after a long outage, the day that was wished for has passed, and somebody has to know of it."""
    intent = core.message("s1", ask(wished_on=SENT_ON))
    core.clock.move(3 * 86_400)
    async with core.serving() as client:
        (outcome,) = (await core.deliver(client, intent)).outcomes
    assert outcome.state == "posted"


async def test_outcome_comes_back_after_a_restore(core: Any) -> None:
    """The ticket that the customer was told, and the wish that held, stand as they were."""
    restore = core.back_up()
    first = core.message("s1", ask("first"))
    core.clock.move(60)
    second = core.message("s2", ask("second"), edge="west")
    async with core.serving() as client:
        told = (await core.deliver(client, first, second)).outcomes
    restore()
    decided = [DecidedIntent(*pair) for pair in zip((first, second), told, strict=True)]
    with core.open() as store:
        take_back(store, decided[::-1], ServerSettings(), delivered_by="east")
        (ticket,) = list_tickets(store.connection)
    assert ticket.ticket_number == told[0].case_number == told[1].case_number
    assert ticket.wish == Wish(kind="move_out", wished_on=None, text="second")


def test_operators_see_the_wish_and_close_it(file_core: Any) -> None:
    """In the list, as lines and as JSON; no line of the audit log tells what was said."""
    body = ask("Keys are with\nthe neighbour", wished_on=SENT_ON + timedelta(days=5))
    with file_core.open() as store:
        Intake(store, ServerSettings()).take([file_core.message("s1", body)], delivered_by="east")
    data = ["--data", str(file_core.data_dir)]
    shown = CliRunner().invoke(main, ["tickets", "list", *data]).stdout
    assert f"service   {ACCOUNT}" in shown
    assert "    move_out, wished for 2026-03-15\n    Keys are with\n    the neighbour\n" in shown
    (ticket,) = msgspec.json.decode(
        CliRunner().invoke(main, ["tickets", "list", *data, "--json"]).stdout
    )
    assert ticket["wish"] == {"kind": "move_out", "wished_on": "2026-03-15", "text": body.text}
    file_core.clock.move(60)
    with file_core.open() as store:
        later = file_core.message("s2", ask("Never mind"))
        Intake(store, ServerSettings()).take([later], delivered_by="east")
    close = ["tickets", "close", *data, ticket["ticket_number"], "--reason", "done"]
    assert CliRunner().invoke(main, close).exit_code == 0
    history = ["tickets", "history", *data, ticket["ticket_number"]]
    told = CliRunner().invoke(main, history).stdout
    first, second = told.index("    the neighbour\n"), told.index("    Never mind\n")
    assert first < second < told.index("ticket.close: done")
    assert f"{ACCOUNT}  counted instead of an earlier wish; its wish holds" in told
    read = msgspec.json.decode(CliRunner().invoke(main, [*history, "--json"]).stdout)
    assert [(said["counts"], said["reason"]) for said in read["messages"]] == [
        (False, ""),
        (True, "later_wish"),
    ]
    assert [line["reason"] for line in read["actions"]] == ["done"]
    assert read["ticket"]["closed_at"] is not None
    unknown = CliRunner().invoke(main, ["tickets", "history", *data, "T-0"])
    assert (unknown.exit_code, unknown.output) == (1, "Error: there is no ticket T-0\n")
    assert CliRunner().invoke(main, ["tickets", "list", *data]).stdout == ""
    assert "neighbour" not in CliRunner().invoke(main, ["audit", "list", *data]).stdout


async def test_forgotten_customer_leaves_no_wish(core: Any) -> None:
    """While a ticket is open nobody is forgotten; afterwards the ticket is there and says nothing."""
    async with core.serving() as client:
        intent = core.message("s1", ask("a secret"), account_id=OTHER_ACCOUNT)
        (outcome,) = (await core.deliver(client, intent)).outcomes
    with core.open() as store:
        with pytest.raises(ForgetRefused), store.transaction(alone=True) as tx:
            erase(tx, "C-2", len(store.shards))
        with store.transaction() as tx:
            close_ticket(tx, outcome.case_number)
        with store.transaction(alone=True) as tx:
            erase(tx, "C-2", len(store.shards))
        (ticket,) = list_tickets(store.connection, everything=True)
        said = store.connection.execute("SELECT count(*) FROM service_requests").fetchone()
    assert (ticket.ticket_number, ticket.wish, said) == (outcome.case_number, None, (0,))
