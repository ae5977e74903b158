"""
Tariffs: what a utility charges for electricity, as published.

The shape is that of the US Utility Rate Database: energy periods with tiers, two 12 by 24 schedules
of period numbers (weekday and weekend), fixed charges, a minimum. Prices are decimal dollars; only
rating turns them into cents. What rating cannot price is kept here, so that it can refuse by name.
"""

import json
import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal

import msgspec

KWH = "kWh"
KWH_DAILY = "kWh daily"
PER_DAY = "$/day"
PER_MONTH = "$/month"
PER_KW = "$/kW"

_SLUG_BREAK = re.compile(r"[^a-z0-9]+")


class Tier(msgspec.Struct, frozen=True):
    """
    One step of an energy price.

    Attributes:
        rate: Dollars a kWh.
        adjustment: Riders and adjustments, dollars a kWh, may be negative.
        limit: The cumulative usage up to which the tier reaches; None on the last tier.
        limit_unit: `kWh` a bill or `kWh daily`; other units are refused by rating.
        sell: Dollars a kWh paid for exported energy; kept, never applied to consumption.
    """

    rate: Decimal
    adjustment: Decimal = Decimal(0)
    limit: Decimal | None = None
    limit_unit: str = KWH
    sell: Decimal | None = None

    @property
    def price(self) -> Decimal:
        """What a kWh costs in this tier: rate and adjustment."""
        return self.rate + self.adjustment


class EnergyPeriod(msgspec.Struct, frozen=True):
    """One period number of the schedules: a ladder of tiers, lowest usage first."""

    tiers: tuple[Tier, ...]


class Schedule(msgspec.Struct, frozen=True):
    """
    Which energy period applies when, by month and local hour.

    Attributes:
        weekday: 12 rows (January first) of 24 period numbers, Monday to Friday.
        weekend: The same for Saturday, Sunday and holidays priced like them.
        holiday_policy: `as_weekend`, `as_weekday` or `unknown`; only the first changes a price.
        holidays: Names of the holidays the tariff lists.
        holiday_observance: `sunday_to_monday` or `actual_day`.
    """

    weekday: tuple[tuple[int, ...], ...]
    weekend: tuple[tuple[int, ...], ...]
    holiday_policy: str = "unknown"
    holidays: tuple[str, ...] = ()
    holiday_observance: str = "sunday_to_monday"


class FixedCharge(msgspec.Struct, frozen=True):
    """
    A charge that does not depend on usage; a negative amount is a credit.

    Attributes:
        amount: Dollars.
        unit: `$/day` or `$/month`; other units are refused by rating.
        name: What the bill calls it; empty when the tariff does not say.
    """

    amount: Decimal
    unit: str
    name: str = ""


class DemandCharge(msgspec.Struct, frozen=True):
    """
    A charge on the highest power drawn in a bill period.

    Attributes:
        amount: Dollars.
        unit: `$/kW`; other units are refused by rating.
        window_minutes: The window over which power is averaged.
        name: What the bill calls it; empty when the tariff does not say.
    """

    amount: Decimal
    unit: str
    window_minutes: int = 60
    name: str = ""


class Tax(msgspec.Struct, frozen=True):
    """A tax on the pre-tax total: `percent` of 4 is 4 %."""

    name: str
    percent: Decimal


class Unpriced(msgspec.Struct, frozen=True):
    """
    Something in the tariff that rating has no rule for.

    Attributes:
        kind: A name such as `demand_charge`, or the unknown field.
        path: Where in the tariff.
        detail: What the tariff says about it.
    """

    kind: str
    path: str
    detail: str = ""


class SourceDocument(msgspec.Struct, frozen=True):
    """
    Where the figures were published.

    Attributes:
        url: The address of the rate sheet, empty for a citation without one.
        title: What it is: the place in the document, the citation, or its role.
        role: `rate_sheet`, `tou_windows`, `verification`, …
        retrieved_on: The day it was read, None when unknown.
    """

    url: str
    title: str
    role: str
    retrieved_on: date | None = None


class Tariff(msgspec.Struct, frozen=True):
    """
    One version of one plan of one utility.

    Attributes:
        utility: The utility's name.
        plan_code: The plan's code, or a slug of its name when the utility gives none.
        name: The plan's name.
        effective_from: The first day it applies; None when unknown.
        effective_until: The last day it applies; None when open.
        currency: ISO 4217.
        energy_periods: By period number of the schedules.
        minimum: The least a bill's pre-tax total can be.
        metering: `none`, `net_metering`, …; consumption is priced the same under each.
        unpriced: What rating refuses.
        source_documents: For display, the rate sheet first.
        document: The tariff as JSON, with overridden dates; `parse_tariff` reads it back.
    """

    utility: str
    plan_code: str
    name: str
    effective_from: date | None
    effective_until: date | None
    energy_periods: tuple[EnergyPeriod, ...]
    schedule: Schedule
    fixed_charges: tuple[FixedCharge, ...]
    minimum: FixedCharge | None
    demand_charges: tuple[DemandCharge, ...]
    taxes: tuple[Tax, ...]
    metering: str
    unpriced: tuple[Unpriced, ...]
    source_documents: tuple[SourceDocument, ...]
    document: bytes
    currency: str = "USD"

    @property
    def source(self) -> SourceDocument | None:
        """The document a bill names as the source of its prices."""
        return self.source_documents[0] if self.source_documents else None


def tariff_key(tariff: Tariff) -> str:
    """
    A readable key of the plan, the same for each of its versions, such as `ladwp-r1a`.

    Made from utility and plan code, so that a customer file can name it.
    """
    return slug(f"{tariff.utility} {tariff.plan_code}")


def slug(text: str) -> str:
    """Lower-case words joined by hyphens."""
    return _SLUG_BREAK.sub("-", text.lower()).strip("-")


def tariff_to_json(tariff: Tariff) -> bytes:
    """The tariff as JSON in the shape it came in; `parse_tariff` gives an equal tariff."""
    return tariff.document


def tariff_in_force(versions: Iterable[Tariff], day: date) -> Tariff | None:
    """
    The version of a plan that prices a day: the one with the latest start on or before it.

    A version's published end is not enforced: a utility's last published prices stay in force until
    newer ones come.
    """
    started = [tariff for tariff in versions if (tariff.effective_from or date.min) <= day]
    return max(started, key=lambda tariff: tariff.effective_from or date.min, default=None)


def canonical_json(value: object) -> bytes:
    """Compact JSON; exact decimals that were written as numbers become strings."""
    return json.dumps(value, separators=(",", ":"), default=str, ensure_ascii=False).encode()
