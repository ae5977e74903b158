"""What is left of a bill on a day, and which step follows when."""

from datetime import UTC, date, datetime, timedelta

import pytest

from core_cis.domain.collecting import (
    Bill,
    Due,
    Moratorium,
    Move,
    Step,
    Terms,
    end_of,
    left_of_bills,
    steps_due,
)

BILL = Bill(statement_id="b1", issued_on=date(2026, 2, 1), due_on=date(2026, 2, 21))
TERMS = Terms(late_fee_basis_points=150)


def on(day: int, month: int = 2) -> date:
    """Name a day of the year of the tests."""
    return date(2026, month, day)


def bill(day: date, cents: int, name: str) -> Move:
    """Issue a bill."""
    return Move(on=day, cents=cents, statement_id=name)


def paid(day: date, cents: int) -> Move:
    """Pay."""
    return Move(on=day, cents=-cents)


def test_payments_go_to_the_oldest_bill_and_count_from_their_day() -> None:
    """What is paid later is not counted yet; what is paid too much is a credit for the next bill."""
    moves = [
        bill(on(1), 10_000, "b1"),
        bill(on(1, 3), 8_000, "b2"),
        paid(on(20), 4_000),
        paid(on(2, 3), 9_000),
    ]
    assert left_of_bills(moves, on(19)) == {"b1": 10_000}
    assert left_of_bills(moves, on(20)) == {"b1": 6_000}
    assert left_of_bills(moves, on(1, 3)) == {"b1": 6_000, "b2": 8_000}
    assert left_of_bills(moves) == {"b1": 0, "b2": 5_000}


def test_a_late_fee_is_paid_last_and_is_no_bill() -> None:
    """Whoever pays the bill and not its fee owes no overdue portion, and the fee takes nothing from the next bill."""
    fee = Move(on=on(27), cents=150, is_fee=True)
    moves = [
        bill(on(1), 10_000, "b1"),
        fee,
        paid(on(28), 10_000),
        bill(on(1, 3), 8_000, "b2"),
        paid(on(5, 3), 8_000),
    ]
    assert left_of_bills(moves) == {"b1": 0, "b2": 0}


def test_an_opening_balance_is_an_older_debt() -> None:
    """Money goes to it before the bill; a credit by hand counts like a payment."""
    moves = [Move(on=on(1, 1), cents=3_000), bill(on(1), 10_000, "b1"), paid(on(3), 5_000)]
    assert left_of_bills(moves) == {"b1": 8_000}


def test_of_one_day_debts_count_before_payments() -> None:
    """A payment on the day of the bill pays it, wherever it stands in the ledger."""
    assert left_of_bills([paid(on(1), 10_000), bill(on(1), 10_000, "b1")]) == {"b1": 0}


@pytest.mark.parametrize(
    ("overdue", "fee"), [(0, 0), (1, 200), (10_000, 350), (10_033, 350), (10_034, 351)]
)
def test_fee_is_flat_and_a_part_of_what_is_overdue(overdue: int, fee: int) -> None:
    """Halves are rounded away from zero; nothing overdue costs nothing."""
    assert Terms(late_fee_cents=200, late_fee_basis_points=150).fee_cents(overdue) == fee


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        (on(26), []),
        (on(27), [Due("late_fee", on(26))]),
        (on(2, 3), [Due("late_fee", on(26))]),
        (on(3, 3), [Due("late_fee", on(26)), Due("past_due_notice", on(2, 3))]),
        (on(9, 4), [Due("late_fee", on(26)), Due("past_due_notice", on(8, 4))]),
    ],
)
def test_first_steps(as_of: date, expected: list[Due]) -> None:
    """A fee is judged through the last day of grace, a notice through yesterday; late runs skip no notice."""
    assert steps_due(BILL, {}, TERMS, as_of) == expected


@pytest.mark.parametrize(
    ("taken", "as_of", "step"),
    [
        ({"past_due_notice": on(3, 3)}, on(22, 3), None),
        ({"past_due_notice": on(3, 3)}, on(23, 3), "disconnection_notice"),
        (
            {"past_due_notice": on(3, 3), "disconnection_notice": on(1, 4)},
            on(10, 4),
            None,
        ),
        (
            {"past_due_notice": on(3, 3), "disconnection_notice": on(1, 4)},
            on(11, 4),
            "disconnection_order",
        ),
    ],
)
def test_each_step_is_some_days_after_the_one_before_was_taken(
    taken: dict[Step, date], as_of: date, step: str | None
) -> None:
    """However late the one before came, the days of notice are whole."""
    due = steps_due(BILL, {"late_fee": on(27), **taken}, TERMS, as_of)
    assert [each.step for each in due] == ([step] if step else [])


def test_moratorium_holds_disconnections_alone() -> None:
    """Both of its days are in it; fees and past-due notices go on."""
    held = Moratorium(first=on(23, 3), last=on(24, 3), reason="heat")
    terms = Terms(late_fee_cents=100, moratoria=(held,))
    noticed: dict[Step, date] = {"late_fee": on(27), "past_due_notice": on(3, 3)}
    found = [bool(steps_due(BILL, noticed, terms, on(day, 3))) for day in (22, 23, 24, 25)]
    assert found == [False, False, False, True]
    assert len(steps_due(BILL, {}, terms, on(23, 3))) == 2


def test_without_a_fee_in_the_terms_none_is_due() -> None:
    """The defaults charge nobody."""
    assert steps_due(BILL, {}, Terms(), on(27)) == []


def test_a_day_ends_by_the_local_clock() -> None:
    """Also when clocks go forward in that night."""
    assert end_of(date(2026, 3, 8), "America/Chicago") == datetime(2026, 3, 9, 5, tzinfo=UTC)
    assert end_of(date(2026, 3, 7), "America/Chicago") - timedelta(hours=6) == datetime(
        2026, 3, 8, 0, tzinfo=UTC
    )
