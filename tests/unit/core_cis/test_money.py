from decimal import Decimal

import pytest

from core_cis.domain.money import decimal_text, dollars_to_cents, round_half_away, wh_to_kwh


@pytest.mark.parametrize(
    ("value", "rounded"),
    [("0.5", 1), ("1.5", 2), ("2.5", 3), ("-0.5", -1), ("-2.5", -3), ("2.49", 2), ("-2.49", -2)],
)
def test_halves_round_away_from_zero(value: str, rounded: int) -> None:
    """Not to even, and not upwards: a credit of half a cent becomes a cent."""
    assert round_half_away(Decimal(value)) == rounded


@pytest.mark.parametrize(
    ("dollars", "cents"), [("37.035", 3704), ("0.004999", 0), ("-1.005", -101), ("208.256", 20826)]
)
def test_dollars_become_cents_in_one_rounding(dollars: str, cents: int) -> None:
    """Three places are not rounded to two by way of another."""
    assert dollars_to_cents(Decimal(dollars)) == cents


def test_energy_becomes_exact_kwh() -> None:
    """A Wh is a thousandth of a kWh, without a remainder."""
    assert wh_to_kwh(1_234_567) == Decimal("1234.567")


@pytest.mark.parametrize(
    ("value", "text"), [("9E+2", "900"), ("0.302140", "0.30214"), ("400", "400"), ("-0.50", "-0.5")]
)
def test_decimals_are_written_plainly(value: str, text: str) -> None:
    """No exponents and no trailing zeros; the zeros of whole numbers stay."""
    assert decimal_text(Decimal(value)) == text
