"""Operators see whom to disconnect, what was done about bills, and what was taken back."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from tests.integration.core_cis.collecting_utility import ACCOUNT, DUE, FEE_CENTS, TODAY, Utility
from tests.integration.core_cis.test_console import console, sign_in


@pytest.fixture
def utility(file_core: Any) -> Iterator[Utility]:
    """Return a utility that has gone all the way to an order."""
    made = Utility(file_core)
    made.fill()
    for day in (4, 6, 9):
        made.collect(date(2026, 3, day))
    yield made
    made.store.close()


async def test_order_is_listed_until_its_bill_is_paid(utility: Utility) -> None:
    """Paid late, the account is not to be disconnected any more; the steps stay, and stand."""
    core = utility.core
    async with console(core, utility.edges) as client:
        asked = await client.get("/ops/v1/collections")
        assert asked.status_code == 401
        assert (await client.get("/ops/collections")).url.path == "/ops/sign-in"
        await sign_in(core, client)
        page = (await client.get("/ops/collections")).text
        assert "Nobody." not in page
        assert page.count(f">{ACCOUNT}<") == 1 + 4
        utility.take(utility.intent(TODAY))
        page = (await client.get("/ops/collections")).text
        told = (await client.get("/ops/v1/collections", headers=core.operator())).json()
    assert "Nobody." in page
    assert page.count("stands") == 4
    assert told["orders"] == []
    assert {(step["step"], step["fee"]) for step in told["steps"]} == {
        ("late_fee", FEE_CENTS),
        ("past_due_notice", 0),
        ("disconnection_notice", 0),
        ("disconnection_order", 0),
    }


async def test_what_was_taken_back_names_the_payment(utility: Utility) -> None:
    """Each step that a payment made in time would have prevented, with when it was taken back."""
    paid = utility.intent(DUE)
    utility.take(paid)
    async with console(utility.core, utility.edges) as client:
        await sign_in(utility.core, client)
        page = (await client.get("/ops/collections")).text
    assert "Nobody." in page
    assert page.count(paid.intent_id) == 4
    assert "stands" not in page
