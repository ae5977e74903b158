"""The stand-in limits as a person types them: sums of money, counts, hours, kinds of methods."""

from decimal import Decimal, InvalidOperation
from typing import Final, Literal, NamedTuple, get_args

from core_cis.errors import LimitInvalid
from core_cis.ops.rendering import money
from core_cis.standin_limits import CENTS_MAX, COUNT_MAX, SECONDS_MAX, FleetLimits
from failover.standin import MethodType

Unit = Literal["money", "count", "hours"]
METHODS: Final[dict[MethodType, str]] = {"card": "Cards", "bank_account": "Bank accounts"}
_HOUR_SECONDS: Final = 3600
# What one unit that is typed is in what is kept, and the most that is kept.
_SCALES: Final[dict[Unit, tuple[int, int]]] = {
    "money": (100, CENTS_MAX),
    "count": (1, COUNT_MAX),
    "hours": (_HOUR_SECONDS, SECONDS_MAX),
}
_TYPED_MAX: Final = 20


class LimitField(NamedTuple):
    """One limit: its name, what the page calls it, what it is typed in, what it means."""

    name: str
    label: str
    unit: Unit
    hint: str


FIELDS: Final = (
    LimitField("per_payment_cents", "One payment", "money", "The most at once."),
    LimitField(
        "account_day_count",
        "Payments of an account in a day",
        "count",
        "Those of the last 24 hours that are not posted yet.",
    ),
    LimitField(
        "account_day_cents", "Sum of an account in a day", "money", "The sum of those payments."
    ),
    LimitField(
        "fleet_outstanding_cents",
        "All edges together",
        "money",
        "What may wait for this core in all. Each edge owns an even part.",
    ),
    LimitField("edge_outstanding_cents", "One edge", "money", "The most that one part may be."),
    LimitField(
        "snapshot_age_seconds",
        "Age of the data",
        "hours",
        "How old what an edge knows of an account may be.",
    ),
    LimitField(
        "outage_seconds",
        "Length of an outage",
        "hours",
        "How long an edge takes payments without this core.",
    ),
)
assert tuple(METHODS) == get_args(MethodType), "every kind of method has a name here"


def typed(limits: FleetLimits) -> dict[str, str]:
    """Write limits as they are typed; a method that may be used is ``yes``."""
    found = {
        field.name: f"{Decimal(getattr(limits, field.name)) / _SCALES[field.unit][0]:f}"
        for field in FIELDS
    }
    return found | {f"method_{name}": "yes" for name in limits.method_types}


def told(limits: FleetLimits, currency: str) -> list[tuple[str, str]]:
    """Tell limits in words."""
    values = typed(limits)
    found = []
    for field in FIELDS:
        value = getattr(limits, field.name)
        words = {
            "money": money(value, currency),
            "count": f"{value:,}",
            "hours": f"{values[field.name]} hours",
        }
        found.append((field.label, words[field.unit]))
    methods = ", ".join(METHODS[name] for name in limits.method_types)
    return [*found, ("Methods", methods or "none: nothing can be paid")]


def read(form: dict[str, str], currency: str) -> FleetLimits:
    """
    Read limits as they were typed.

    Raises:
        LimitInvalid: A value breaks its rule, which is told in words.
    """
    values = {field.name: _value(field, form.get(field.name, ""), currency) for field in FIELDS}
    methods = [name for name in METHODS if form.get(f"method_{name}") == "yes"]
    return FleetLimits.of({**values, "method_types": methods})


def _value(field: LimitField, text: str, currency: str) -> int:
    scale, most = _SCALES[field.unit]
    try:
        value = Decimal(text.strip()[:_TYPED_MAX]) * scale
        whole = int(value)
    except (InvalidOperation, ValueError, OverflowError):
        value, whole = Decimal(-1), 0
    if value != whole or not 0 <= whole <= most:
        rules = {
            "money": f"a sum from {money(0, currency)} to {money(most, currency)}, such as 250.00",
            "count": f"a whole number from 0 to {most:,}",
            "hours": f"hours from 0 to {most // scale:,}, such as 1.5",
        }
        raise LimitInvalid(field.name, f"“{field.label}” must be {rules[field.unit]}.")
    return whole
