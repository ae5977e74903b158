"""What covers a payment that is about to be made."""

from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from cache_sync.documents import PaymentLine
from edge_portal.covering import Covering, covering, paid_since_bill
from edge_portal.views import AccountView
from failover.intents import Receipt, State, intent_id
from failover.sibling_news import MayMiss
from tests.unit.edge_portal.edge_world import AS_OF, HELD, MINE, EdgeWorld, receipt, statement

BALANCE, BILL = 10_000, 12_000


def shown(*payments: Receipt, world: EdgeWorld | None = None) -> AccountView:
    """Show an account that owes 100.00 of a bill of 120.00, with these payments in its edge's journal."""
    world = world or EdgeWorld()
    world.journal.rows = list(payments)
    return world.portal.view(MINE, ())


def asked(amount_cents: int, *payments: Receipt) -> tuple[str, int, int] | None:
    """Tell what covers an amount: why, how much it is over, how many payments."""
    found = covering(shown(*payments), amount_cents)
    return None if found is None else (found.why, found.over_cents, len(found.payments))


@pytest.mark.parametrize(
    ("amount", "payments", "expected"),
    [
        (BALANCE, [], None),
        (BALANCE + 1, [], None),
        (BALANCE, [receipt("a", BALANCE)], ("nothing_left", BALANCE, 1)),
        (BILL, [receipt("a", BALANCE)], ("nothing_left", BILL, 1)),
        (BALANCE, [receipt("a", BALANCE, "checking")], ("nothing_left", BALANCE, 1)),
        (BALANCE, [receipt("a", BALANCE, "dead_letter")], ("nothing_left", BALANCE, 1)),
        (BALANCE, [receipt("a", BALANCE, "posted", seq=99)], ("nothing_left", BALANCE, 1)),
        (BALANCE, [receipt("a", 4_000), receipt("b", 6_000)], ("nothing_left", BALANCE, 2)),
        (BALANCE, [receipt("a", 4_000)], ("nothing_left", 4_000, 1)),
        (6_000, [receipt("a", 4_000)], None),
        (6_001, [receipt("a", 4_000)], ("nothing_left", 1, 1)),
        (4_000, [receipt("a", 4_000)], ("same_sum", 0, 1)),
        (4_000, [receipt("a", 4_000, minutes=-24 * 60)], None),
        (4_000, [receipt("a", 4_001)], None),
        (BALANCE, [receipt("a", BALANCE, "rejected", seq=99)], None),
        (BALANCE, [receipt("a", BALANCE, "cancelled", seq=99)], None),
        (BALANCE, [receipt("a", BALANCE, "void")], None),
        (BALANCE, [receipt("a", BALANCE, "declined_limit")], None),
    ],
)
def test_what_waits_or_was_posted_covers(
    amount: int, payments: list[Receipt], expected: tuple[str, int, int] | None
) -> None:
    """Only what was taken or may still be, and only beyond what is then left to pay."""
    assert asked(amount, *payments) == expected


@pytest.mark.parametrize(
    ("amount", "payments", "expected"),
    [
        (100, [], ("elsewhere", 2)),
        (BALANCE, [receipt("a", BALANCE)], ("nothing_left", 2)),
        (4_000, [receipt("a", 4_000)], ("same_sum", 2)),
    ],
)
def test_payments_that_others_have_may_cover_it(
    amount: int, payments: list[Receipt], expected: tuple[str, int]
) -> None:
    """How many there are is known, not how much: that is warned of by itself, and beside what is known."""
    view = msgspec.structs.replace(shown(*payments), may_miss=MayMiss(why="waiting", payments=2))
    found = covering(view, amount)
    assert found is not None
    assert (found.why, found.unseen) == expected
    silent = msgspec.structs.replace(view, may_miss=MayMiss(why="unheard"))
    assert covering(silent, amount) == covering(shown(*payments), amount)


def test_a_banks_no_covers_nothing() -> None:
    """Nobody has to wait for the core to know that no money was taken."""
    said_no = msgspec.structs.replace(receipt("a", BALANCE, "checking"), reason="declined")
    assert asked(BALANCE, said_no) is None


def test_a_payment_does_not_cover_itself() -> None:
    """Pressed again, the same form or key means the same payment."""
    view = shown(receipt("a", BALANCE))
    assert covering(view, BALANCE, but=intent_id(MINE, "a")) is None
    assert isinstance(covering(view, BALANCE, but=intent_id(MINE, "b")), Covering)


def decided(key: str, state: State, when: datetime, **more: object) -> Receipt:
    """Build a payment that the core decided."""
    made = receipt(key, BALANCE, state, seq=99)
    return msgspec.structs.replace(made, accepted_at=when, decided_at=when, **more)


BILLED = datetime(2026, 11, 1, 16, tzinfo=UTC)


def test_what_the_bill_knows_of_covers_nothing_of_it() -> None:
    """Posted before it, counted in it, or taken over from older books; what a drain posted late counts."""
    before = decided("before", "posted", BILLED - timedelta(days=2))
    late = decided("late", "posted", BILLED - timedelta(days=2), value_date=date(2026, 10, 30))
    late = msgspec.structs.replace(late, decided_at=BILLED + timedelta(days=1))
    moved = decided("moved in", "posted", AS_OF, value_date=date(2026, 3, 1))
    world = EdgeWorld()
    counted = decided("counted", "posted", BILLED)
    line = PaymentLine(
        payment_id=counted.intent_id, value_date=date(2026, 11, 1), amount_cents=BALANCE
    )
    bill = msgspec.structs.replace(statement(MINE, HELD), payments=[line])
    world.snapshot.put(MINE, "statement", HELD, bill)
    view = shown(before, late, counted, moved, world=world)
    assert [payment.intent_id for payment in paid_since_bill(view)] == [late.intent_id]


def test_without_a_bill_only_what_waits_covers() -> None:
    """A new account has nothing to pay yet; what was posted is a credit that it sees."""
    view = shown(receipt("a", 5_000), decided("b", "posted", AS_OF))
    view = msgspec.structs.replace(view, statements=[], archived=[], left_to_pay_cents=0)
    found = covering(view, 5_000)
    assert found is not None
    assert [payment.state for payment in found.payments] == ["accepted"]
