"""Money: integer minor units everywhere, decimals only while a bill is rated."""

from decimal import ROUND_HALF_UP, Decimal

CENTS_PER_DOLLAR = 100
WH_PER_KWH = 1000

_WHOLE = Decimal(1)


def round_half_away(value: Decimal) -> int:
    """Round to a whole number, halves away from zero: 2.5 → 3, -2.5 → -3."""
    # The decimal module's ROUND_HALF_UP looks at the magnitude, so it is "half away from zero".
    return int(value.quantize(_WHOLE, rounding=ROUND_HALF_UP))


def dollars_to_cents(amount: Decimal) -> int:
    """Round an exact amount in dollars to cents, halves away from zero."""
    return round_half_away(amount * CENTS_PER_DOLLAR)


def wh_to_kwh(usage_wh: int) -> Decimal:
    """Turn Wh into exact kWh."""
    return Decimal(usage_wh) / WH_PER_KWH


def decimal_text(value: Decimal) -> str:
    """A decimal as a plain string, without exponent or trailing zeros: `0.30214`, `405`."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
