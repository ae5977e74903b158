"""Operators see tickets in the console: listed by state and kind, each with what was said, closed once and audited."""

from typing import Any

import pytest

from core_cis.audit import read_log
from core_cis.intake import Intake
from core_cis.settings import ServerSettings
from failover.message_bodies import OutageReport, ServiceRequest
from tests.integration.core_cis.console_edges import Edges
from tests.integration.core_cis.test_console import HOME, console, hidden, sign_in

POINT = "SP-1001"


@pytest.fixture
def numbers(file_core: Any) -> tuple[str, str]:
    """Have a customer report an outage and ask for a service; returns the tickets' numbers."""
    sent = [
        file_core.message("o", OutageReport(salt="s", service_point_id=POINT, extent="part")),
        file_core.message("s", ServiceRequest(salt="s", kind="tree", text="<b>Elm</b> leans")),
    ]
    with file_core.open() as store:
        with store.transaction() as tx:
            tx.connection.execute(
                "INSERT INTO service_points (service_point_id, account_id, address) VALUES (?, ?, '1 Main St')",
                (POINT, sent[0].account_id),
            )
        told = Intake(store, ServerSettings()).take(sent, delivered_by="east").outcomes
    by_id = {each.intent_id: each.case_number for each in told}
    return by_id[sent[0].intent_id], by_id[sent[1].intent_id]


async def test_tickets_are_listed_by_state_and_kind(
    file_core: Any, numbers: tuple[str, str]
) -> None:
    """Open ones at first; only operators see any."""
    outage, service = numbers
    async with console(file_core, Edges()) as client:
        assert (await client.get("/ops/tickets")).url.path == "/ops/sign-in"
        await sign_in(file_core, client)
        page = (await client.get("/ops/tickets")).text
        assert outage in page
        assert service in page
        assert "Service request: tree" in page
        only = (await client.get("/ops/tickets", params={"kind": "outage"})).text
        assert outage in only
        assert service not in only
        closed = (await client.get("/ops/tickets", params={"state": "closed"})).text
        assert "None." in closed


async def test_a_ticket_is_closed_once_and_written_down(
    file_core: Any, numbers: tuple[str, str]
) -> None:
    """With all that was said, escaped; a reason is needed; twice sent is once done; then it is refused in words."""
    _, number = numbers
    async with console(file_core, Edges()) as client:
        csrf = await sign_in(file_core, client)
        address = f"/ops/tickets/{number}"
        page = (await client.get(address)).text
        assert "&lt;b&gt;Elm&lt;/b&gt; leans" in page
        assert "It opened the ticket; its wish holds." in page
        form = {"csrf": csrf, "reason": " "}
        nameless = await client.post(f"{address}/review", data=form, headers=HOME)
        assert nameless.status_code == 422
        assert "Please say why." in nameless.text
        form["reason"] = "crew was there"
        review = await client.post(f"{address}/review", data=form, headers=HOME)
        assert "Close the ticket" in review.text
        sent = hidden(review.text)
        for _ in range(2):
            done = await client.post(address, data=sent, headers=HOME)
            assert done.status_code == 200
            assert "crew was there" in done.text
            assert f"{address}/review" not in done.text
        again = await client.post(address, data={**sent, "key": "another"}, headers=HOME)
        assert again.status_code == 422
        assert f"Ticket {number} is closed." in again.text
        missing = await client.get("/ops/tickets/T-0")
        assert missing.status_code == 404
        assert "There is no ticket T-0." in missing.text
    with file_core.open() as store:
        (line,) = read_log(store.connection, limit=5)
    assert (line.action, line.subject, line.via) == ("ticket.close", number, "console")
    assert "Elm" not in str(line)


async def test_programs_do_the_same(file_core: Any, numbers: tuple[str, str]) -> None:
    """List, history, close; unknown and closed ones are told apart."""
    outage, _ = numbers
    headers = file_core.operator()
    body = {"operator": "Ada", "reason": "lights are on"}
    async with console(file_core, Edges()) as client:
        address = f"/ops/v1/tickets/{outage}"
        assert (await client.get("/ops/v1/tickets")).status_code == 401
        listed = (await client.get("/ops/v1/tickets", headers=headers)).json()
        assert {ticket["ticket_number"] for ticket in listed} == set(numbers)
        told = (await client.get(address, headers=headers)).json()
        assert told["messages"][0]["body"]["extent"] == "part"
        closed = await client.post(address, headers=headers, json=body)
        assert closed.json()["action"] == "ticket.close"
        refused = await client.post(address, headers=headers, json=body)
        assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (
            409,
            "ticket_refused",
        )
        for method in ("GET", "POST"):
            missing = await client.request(
                method, "/ops/v1/tickets/T-0", headers=headers, json=body
            )
            assert missing.status_code == 404
        left = (await client.get("/ops/v1/tickets", headers=headers)).json()
    assert outage not in {ticket["ticket_number"] for ticket in left}
