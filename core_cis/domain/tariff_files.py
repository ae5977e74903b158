"""
Reading a tariff file: the JSON shape of the US Utility Rate Database, strictly.

An error names the path and the rule. A field of the priced parts that is not known is not dropped:
it is kept as unpriced, and rating refuses the tariff by that name.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import NoReturn

from core_cis.domain.holidays import OBSERVANCES, SUNDAY_TO_MONDAY
from core_cis.domain.tariffs import (
    KWH,
    DemandCharge,
    EnergyPeriod,
    FixedCharge,
    Schedule,
    SourceDocument,
    Tariff,
    Tax,
    Tier,
    Unpriced,
    canonical_json,
    slug,
)
from core_cis.errors import InvalidTariff

FILE_BYTES_MAX = 1_000_000
PERIODS_MAX = 96
TIERS_MAX = 20
CHARGES_MAX = 50
AMOUNT_MAX = Decimal(1_000_000)
DECIMAL_PLACES_MAX = 12

_DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?\Z")
_HOLIDAY_POLICIES = frozenset({"unknown", "as_weekend", "as_weekday"})
_DEMAND_WINDOWS = frozenset({15, 30, 60})
# Not priced, by their nature: who publishes it, where it was read.
_DESCRIPTIVE = frozenset({"identity", "provenance", "schema_version", "source_documents"})
_PRICED = frozenset(
    {
        "effective_range",
        "energy",
        "schedule",
        "fixed_charges",
        "min_charge",
        "demand_charges",
        "taxes",
        "unsupported",
        "metering",
    }
)

_Object = dict[str, object]


def parse_tariff(data: bytes, *, effective_from: date | None = None) -> Tariff:
    """
    Read one tariff.

    Args:
        data: The JSON text, at most 1 MB.
        effective_from: Replaces the dates the file gives; the tariff is then open-ended.

    Raises:
        InvalidTariff: With the path and the rule that is broken.
    """
    root = _load(data)
    unpriced: list[Unpriced] = []
    _keep_unknown(root, _PRICED | _DESCRIPTIVE, "", unpriced)
    _schema_version(root)
    if effective_from is not None:
        root["effective_range"] = {"start": effective_from.isoformat(), "end": None}
    identity = _object(root.get("identity"), "identity")
    name = _text(identity.get("plan_name"), "identity.plan_name")
    code = _text(identity.get("plan_code"), "identity.plan_code")
    start, end = _effective_range(root)
    periods = _energy(root, unpriced)
    unpriced.extend(_declared_unsupported(root))
    return Tariff(
        utility=_text(identity.get("utility_id"), "identity.utility_id"),
        plan_code=code or slug(name) or "unnamed",
        name=name or code or "Unnamed plan",
        effective_from=start,
        effective_until=end,
        energy_periods=periods,
        schedule=_schedule(root, len(periods), unpriced),
        fixed_charges=_fixed_charges(root, unpriced),
        minimum=_minimum(root, unpriced),
        demand_charges=_demand_charges(root, unpriced),
        taxes=_taxes(root, unpriced),
        metering=_text(root.get("metering"), "metering"),
        unpriced=tuple(unpriced),
        source_documents=_source_documents(root),
        document=canonical_json(root),
    )


def _load(data: bytes) -> _Object:
    if len(data) > FILE_BYTES_MAX:
        raise InvalidTariff("", f"at most {FILE_BYTES_MAX} bytes")
    try:
        value = json.loads(
            data,
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object_without_repeats,
        )
    except (ValueError, RecursionError) as error:
        # Deep nesting ends in a RecursionError: a file's fault, not ours.
        raise InvalidTariff("", f"JSON that can be read: {error}") from error
    return _object(value, "")


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidTariff("", f"no {name}: amounts are decimal numbers")


def _object_without_repeats(pairs: list[tuple[str, object]]) -> _Object:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise InvalidTariff(repeated, "a field is given once")
    return result


def _schema_version(root: _Object) -> None:
    version = root.get("schema_version", 0)
    if version != 0 or isinstance(version, bool):
        raise InvalidTariff("schema_version", "0, the version this core reads")


def _effective_range(root: _Object) -> tuple[date | None, date | None]:
    path = "effective_range"
    if root.get(path) is None:
        return None, None
    found = _object(root[path], path)
    start = _day(found.get("start"), f"{path}.start")
    end = _day(found.get("end"), f"{path}.end")
    if start is not None and end is not None and end < start:
        raise InvalidTariff(f"{path}.end", f"not before the start, {start}")
    return start, end


def _energy(root: _Object, unpriced: list[Unpriced]) -> tuple[EnergyPeriod, ...]:
    energy = _object(root.get("energy"), "energy")
    _keep_unknown(energy, frozenset({"periods"}), "energy", unpriced)
    found = _list(energy.get("periods"), "energy.periods", least=1, most=PERIODS_MAX)
    return tuple(
        _energy_period(value, f"energy.periods[{index}]", unpriced)
        for index, value in enumerate(found)
    )


def _energy_period(value: object, path: str, unpriced: list[Unpriced]) -> EnergyPeriod:
    period = _object(value, path)
    _keep_unknown(period, frozenset({"tiers"}), path, unpriced)
    found = _list(period.get("tiers"), f"{path}.tiers", least=1, most=TIERS_MAX)
    tiers = tuple(
        _tier(tier, f"{path}.tiers[{index}]", unpriced) for index, tier in enumerate(found)
    )
    _check_ladder(tiers, f"{path}.tiers")
    return EnergyPeriod(tiers)


def _tier(value: object, path: str, unpriced: list[Unpriced]) -> Tier:
    tier = _object(value, path)
    _keep_unknown(tier, frozenset({"rate", "adj", "max", "max_unit", "sell"}), path, unpriced)
    limit = _amount_or_none(tier.get("max"), f"{path}.max")
    if limit is not None and limit <= 0:
        raise InvalidTariff(f"{path}.max", f"more than 0, not {limit}")
    return Tier(
        rate=_amount(tier.get("rate"), f"{path}.rate"),
        adjustment=_amount_or_none(tier.get("adj"), f"{path}.adj") or Decimal(0),
        limit=limit,
        limit_unit=_text(tier.get("max_unit"), f"{path}.max_unit") or KWH,
        sell=_amount_or_none(tier.get("sell"), f"{path}.sell"),
    )


def _check_ladder(tiers: Sequence[Tier], path: str) -> None:
    previous: Tier | None = None
    for index, tier in enumerate(tiers):
        where = f"{path}[{index}]"
        if tier.limit is None:
            if index != len(tiers) - 1:
                raise InvalidTariff(f"{where}.max", "only the last tier is without limit")
            continue
        if previous is not None and previous.limit is not None:
            if tier.limit_unit != previous.limit_unit:
                raise InvalidTariff(f"{where}.max_unit", f"{previous.limit_unit}, as before it")
            if tier.limit <= previous.limit:
                raise InvalidTariff(f"{where}.max", f"more than {previous.limit}")
        previous = tier


def _schedule(root: _Object, periods: int, unpriced: list[Unpriced]) -> Schedule:
    path = "schedule"
    schedule = _object(root.get(path), path)
    known = {"weekday", "weekend", "holiday_policy", "holidays", "holiday_observance"}
    _keep_unknown(schedule, frozenset(known), path, unpriced)
    policy = _text(schedule.get("holiday_policy"), f"{path}.holiday_policy") or "unknown"
    if policy not in _HOLIDAY_POLICIES:
        raise InvalidTariff(f"{path}.holiday_policy", f"one of {sorted(_HOLIDAY_POLICIES)}")
    observance = _text(schedule.get("holiday_observance"), f"{path}.holiday_observance")
    if observance and observance not in OBSERVANCES:
        raise InvalidTariff(f"{path}.holiday_observance", f"one of {sorted(OBSERVANCES)}")
    holidays = _list(schedule.get("holidays", []), f"{path}.holidays", most=CHARGES_MAX)
    return Schedule(
        weekday=_matrix(schedule.get("weekday"), f"{path}.weekday", periods),
        weekend=_matrix(schedule.get("weekend"), f"{path}.weekend", periods),
        holiday_policy=policy,
        holidays=tuple(
            _text(name, f"{path}.holidays[{index}]") for index, name in enumerate(holidays)
        ),
        holiday_observance=observance or SUNDAY_TO_MONDAY,
    )


def _matrix(value: object, path: str, periods: int) -> tuple[tuple[int, ...], ...]:
    rows = _list(value, path, least=12, most=12)
    return tuple(
        tuple(
            _period_number(number, f"{path}[{month}][{hour}]", periods)
            for hour, number in enumerate(_list(row, f"{path}[{month}]", least=24, most=24))
        )
        for month, row in enumerate(rows)
    )


def _period_number(value: object, path: str, periods: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < periods:
        raise InvalidTariff(path, f"the number of one of the {periods} energy periods")
    return value


def _fixed_charges(root: _Object, unpriced: list[Unpriced]) -> tuple[FixedCharge, ...]:
    path = "fixed_charges"
    found = _list(root.get(path) or [], path, most=CHARGES_MAX)
    return tuple(_charge(value, f"{path}[{index}]", unpriced) for index, value in enumerate(found))


def _charge(value: object, path: str, unpriced: list[Unpriced]) -> FixedCharge:
    charge = _object(value, path)
    _keep_unknown(charge, frozenset({"amount", "unit", "name"}), path, unpriced)
    return FixedCharge(
        amount=_amount(charge.get("amount"), f"{path}.amount"),
        unit=_required_text(charge.get("unit"), f"{path}.unit"),
        name=_text(charge.get("name"), f"{path}.name"),
    )


def _minimum(root: _Object, unpriced: list[Unpriced]) -> FixedCharge | None:
    if root.get("min_charge") is None:
        return None
    minimum = _charge(root["min_charge"], "min_charge", unpriced)
    if minimum.amount < 0:
        raise InvalidTariff("min_charge.amount", "not negative")
    return minimum


def _demand_charges(root: _Object, unpriced: list[Unpriced]) -> tuple[DemandCharge, ...]:
    path = "demand_charges"
    found = _list(root.get(path) or [], path, most=CHARGES_MAX)
    charges = []
    for index, value in enumerate(found):
        where = f"{path}[{index}]"
        charge = _object(value, where)
        known = frozenset({"amount", "unit", "name", "window_minutes"})
        _keep_unknown(charge, known, where, unpriced)
        window = charge.get("window_minutes", 60)
        if window not in _DEMAND_WINDOWS or not isinstance(window, int):
            raise InvalidTariff(f"{where}.window_minutes", f"one of {sorted(_DEMAND_WINDOWS)}")
        charges.append(
            DemandCharge(
                amount=_amount(charge.get("amount"), f"{where}.amount"),
                unit=_required_text(charge.get("unit"), f"{where}.unit"),
                window_minutes=window,
                name=_text(charge.get("name"), f"{where}.name"),
            )
        )
    return tuple(charges)


def _taxes(root: _Object, unpriced: list[Unpriced]) -> tuple[Tax, ...]:
    found = _list(root.get("taxes") or [], "taxes", most=CHARGES_MAX)
    taxes = []
    for index, value in enumerate(found):
        path = f"taxes[{index}]"
        tax = _object(value, path)
        _keep_unknown(tax, frozenset({"name", "percent"}), path, unpriced)
        percent = _amount(tax.get("percent"), f"{path}.percent")
        if not 0 <= percent <= 100:  # noqa: PLR2004 (a per cent figure)
            raise InvalidTariff(f"{path}.percent", "between 0 and 100")
        taxes.append(Tax(name=_required_text(tax.get("name"), f"{path}.name"), percent=percent))
    return tuple(taxes)


def _declared_unsupported(root: _Object) -> list[Unpriced]:
    found = _list(root.get("unsupported") or [], "unsupported", most=CHARGES_MAX)
    declared = []
    for index, value in enumerate(found):
        path = f"unsupported[{index}]"
        if isinstance(value, str):
            declared.append(Unpriced(kind=_required_text(value, path), path=path))
            continue
        feature = _object(value, path)
        kind = _required_text(feature.get("kind"), f"{path}.kind")
        detail = _text(feature.get("detail"), f"{path}.detail")
        declared.append(Unpriced(kind=kind, path=path, detail=detail))
    return declared


def _source_documents(root: _Object) -> tuple[SourceDocument, ...]:
    path = "source_documents"
    documents = []
    for index, value in enumerate(_list(root.get(path) or [], path, most=1000)):
        where = f"{path}[{index}]"
        document = _object(value, where)
        role = _text(document.get("role"), f"{where}.role")
        title = _text(document.get("title"), f"{where}.title")
        locator = _text(document.get("locator"), f"{where}.locator")
        url = _text(document.get("url"), f"{where}.url")
        # Some files cite a paper source here. A page links to addresses only, so a citation becomes
        # the title, and no javascript: or data: address gets that far.
        is_address = url.startswith(("https://", "http://"))
        citation = "" if is_address else url
        documents.append(
            SourceDocument(
                url=url if is_address else "",
                title=title or locator or citation or role.replace("_", " "),
                role=role,
                retrieved_on=_day(document.get("fetched_at"), f"{where}.fetched_at"),
            )
        )
    documents.sort(key=lambda document: document.role != "rate_sheet")
    return tuple(documents)


def _keep_unknown(
    found: Mapping[str, object], known: frozenset[str], path: str, unpriced: list[Unpriced]
) -> None:
    for name, value in found.items():
        if name not in known and value not in (None, [], {}, ""):
            where = f"{path}.{name}" if path else name
            unpriced.append(Unpriced(kind=name, path=where, detail="a field without a rule"))


def _object(value: object, path: str) -> _Object:
    if not isinstance(value, dict):
        raise InvalidTariff(path, "an object")
    return value


def _list(value: object, path: str, *, least: int = 0, most: int) -> list[object]:
    if not isinstance(value, list):
        raise InvalidTariff(path, "a list")
    if not least <= len(value) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise InvalidTariff(path, f"{wanted} items, not {len(value)}")
    return value


def _text(value: object, path: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidTariff(path, "text")
    return value.strip()


def _required_text(value: object, path: str) -> str:
    text = _text(value, path)
    if not text:
        raise InvalidTariff(path, "text, not nothing")
    return text


def _day(value: object, path: str) -> date | None:
    text = _text(value, path)
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidTariff(path, f"a date such as 2026-01-31, not {text}") from error


def _amount_or_none(value: object, path: str) -> Decimal | None:
    return None if value is None else _amount(value, path)


def _amount(value: object, path: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise InvalidTariff(path, "a decimal number")
    if isinstance(value, str) and not _DECIMAL.match(value):
        raise InvalidTariff(path, f"a decimal number such as 0.125, not {value[:40]!r}")
    amount = Decimal(value)
    if abs(amount) > AMOUNT_MAX:
        raise InvalidTariff(path, f"a number of at most {AMOUNT_MAX} either way")
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent > DECIMAL_PLACES_MAX:
        raise InvalidTariff(path, f"at most {DECIMAL_PLACES_MAX} decimal places")
    return amount
