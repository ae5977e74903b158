"""A late fee is told where it changes what is owed, and so is one that was taken back."""

from datetime import date, timedelta

import msgspec
from litestar import Litestar
from litestar.testing import TestClient

from cache_sync.documents import FeeSinceBill, PaymentLine
from edge_portal.pdf import bill_text
from tests.integration.pages.test_pages import Outline
from tests.integration.pages.world import World

Client = TestClient[Litestar]
BILL = "S-2026-11"


def charge(world: World, *cents: int) -> None:
    """Charge fees after the newest bill."""
    on = world.statements[0].issued_on + timedelta(days=3)
    fees = [FeeSinceBill(on=on, amount_cents=each, statement_id=BILL) for each in cents]
    world.account = msgspec.structs.replace(
        world.account, late_fees=fees, balance_cents=world.account.balance_cents + sum(cents)
    )


def test_overview_tells_the_fee(customer: Client, world: World) -> None:
    """Among what happened, and in the steps from the bill to the amount due: what was paid stays what was paid."""
    before = Outline(customer.get("/").text).text
    assert "Late fee" not in before
    charge(world, 188)
    page = Outline(customer.get("/").text).text
    assert "Late fee, $1.88" in page
    assert "$102.44" in page
    for paid in ("−$25.00", "-$25.00"):
        assert (paid in before) == (paid in page)


def test_fee_that_was_taken_back_is_told_too(customer: Client, world: World) -> None:
    """It had been on an older bill."""
    charge(world, -188)
    page = Outline(customer.get("/").text).text
    assert "Late fee taken back, $1.88" in page
    assert "$98.68" in page


def test_bill_names_what_is_no_payment(customer: Client, world: World) -> None:
    """On the page and in the PDF; the bill before it was not paid by it."""
    fee = PaymentLine(
        payment_id="adjustment 7",
        value_date=date(2026, 10, 28),
        amount_cents=-188,
        description="Late fee on the bill of 2026-09-15",
    )
    newest = world.statements[0]
    world.statements[0] = msgspec.structs.replace(newest, payments=[*newest.payments, fee])
    page = Outline(customer.get(f"/bills/{BILL}").text).text
    assert "Late fee on the bill of 2026-09-15 $1.88" in page
    assert "Paid Oct 28" not in page
    told = bill_text(world.account, world.statements[0])
    assert "Late fee on the bill of 2026-09-15" in str(told)
