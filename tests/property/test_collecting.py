"""Whatever order payments arrive in, fees end as if all had arrived on the day they count from."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from core_cis.domain.collecting import Move, Terms, left_of_bills

FIRST = date(2026, 1, 1)
DAYS = st.integers(0, 120).map(lambda days: FIRST + timedelta(days=days))
PAYMENTS = st.lists(st.builds(Move, on=DAYS, cents=st.integers(-30_000, -1)), max_size=12)
BILLS = st.lists(st.integers(0, 20_000), min_size=1, max_size=4).map(
    lambda amounts: [
        Move(on=FIRST + timedelta(days=30 * number), cents=cents, statement_id=f"b{number}")
        for number, cents in enumerate(amounts)
    ]
)
FEES = st.lists(
    st.tuples(DAYS, st.integers(1, 500)).map(
        lambda fee: Move(on=fee[0], cents=fee[1], is_fee=True)
    ),
    max_size=4,
)


@given(BILLS, PAYMENTS, FEES, DAYS, st.randoms())
def test_left_is_what_was_billed_and_not_paid_in_time(
    bills: list[Move], payments: list[Move], fees: list[Move], day: date, rng: object
) -> None:
    """To the cent, oldest first, fees apart; the order of arrival says nothing."""
    arrived = [*bills, *fees, *payments]
    rng.shuffle(arrived)  # type: ignore[attr-defined]
    left = left_of_bills(arrived, day)
    out = [bill for bill in bills if bill.on <= day]
    assert list(left) == [bill.statement_id for bill in out]
    assert all(0 <= left[bill.statement_id] <= bill.cents for bill in out)
    billed = sum(bill.cents for bill in out)
    paid = -sum(move.cents for move in payments if move.on <= day)
    owed = sum(fee.cents for fee in fees if fee.on <= day)
    assert max(0, billed - paid) <= sum(left.values()) <= max(0, billed + owed - paid)
    # No bill is paid while an older one is not.
    unpaid = [bill.statement_id for bill in out if left[bill.statement_id]]
    newer = [bill.statement_id for bill in out if bill.statement_id > unpaid[0]] if unpaid else []
    assert all(
        left[name] == bill.cents for name in newer for bill in out if bill.statement_id == name
    )


@given(BILLS, PAYMENTS, PAYMENTS, DAYS)
def test_a_payment_more_never_makes_more_overdue(
    bills: list[Move], payments: list[Move], more: list[Move], day: date
) -> None:
    """So a step that was not taken is never owed because of one, and a fee only falls."""
    terms = Terms(late_fee_cents=100, late_fee_basis_points=150)
    before = left_of_bills([*bills, *payments], day)
    after = left_of_bills([*bills, *payments, *more], day)
    assert all(after[name] <= left for name, left in before.items())
    assert all(
        terms.fee_cents(after[name]) <= terms.fee_cents(left) for name, left in before.items()
    )
