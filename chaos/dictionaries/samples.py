"""
Made-up bodies to train compression dictionaries on, from a seed.

They have the shape of what a core publishes: its own types, with their optional parts there or not, and numbers and ids
of the usual forms. Names, streets and tariffs are words of random letters: a dictionary is to learn how bodies are
built, and nothing about any utility's customers.
"""

import base64
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Final, Literal

import msgspec

from cache_sync.body_versions import encode_version
from cache_sync.documents import (
    ACCOUNT,
    ARCHIVE,
    CREDENTIAL,
    KNOWN_VERSIONS,
    MESSAGE,
    PAYMENT,
    STATEMENT,
    USAGE,
    AccountBody,
    ArchiveBody,
    ArchivedStatement,
    BillChange,
    CredentialBody,
    DecidedMessageBody,
    MeterRead,
    PaymentBody,
    PaymentLine,
    PaymentMethod,
    ServicePoint,
    StatementBody,
    StatementLine,
    TariffName,
    UsageBody,
    UsageDay,
    encode_body,
)

_LETTERS: Final = "aaabcdeeefghiiklmnooprrsttuvwy"
_ZONES: Final = (
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/Phoenix",
    "Europe/London",
    "Europe/Berlin",
)
_CURRENCIES: Final = ("USD", "USD", "USD", "USD", "CAD", "EUR", "GBP")
_State = Literal["posted", "rejected", "dead_letter", "cancelled"]
_STATES: Final[tuple[_State, ...]] = ("posted",) * 8 + ("rejected", "dead_letter", "cancelled")
_LineKind = Literal["energy", "fixed", "minimum", "tax", "adjustment", "credit", "demand"]
_FIRST_DAY: Final = date(2024, 1, 1)
_DAYS: Final = 3 * 365
_SOME: Final = 0.1
_HALF: Final = 0.5


def sample_bodies(kind: str, count: int) -> list[bytes]:
    """Make bodies of a kind, as they are before they are packed; always the same ones."""
    rng = Random(kind)
    return [_MAKERS[kind](rng) for _ in range(count)]


def _word(rng: Random) -> str:
    return "".join(rng.choice(_LETTERS) for _ in range(rng.randrange(3, 9))).title()


def _words(rng: Random, most: int) -> str:
    return " ".join(_word(rng) for _ in range(rng.randrange(1, most + 1)))


def _account_id(rng: Random) -> str:
    forms = (
        f"{rng.randrange(10_000):04d}-{rng.randrange(10_000_000):07d}-{rng.randrange(100):02d}",
        f"A-{rng.randrange(10_000_000):07d}",
        f"{rng.randrange(10**10):010d}",
    )
    return rng.choice(forms)


def _point_id(rng: Random) -> str:
    return f"SP-{rng.randrange(10_000_000):07d}"


def _statement_id(rng: Random) -> str:
    return f"st_{rng.getrandbits(64):016x}"


def _meter_id(rng: Random) -> str:
    return f"{_word(rng)[:2].upper()}-{rng.randrange(10_000_000):07d}"


def _label(rng: Random) -> str:
    last = f"ending {rng.randrange(10_000):04d}"
    cards = ("Visa", "Mastercard", "American Express", "Discover")
    if rng.random() < _HALF:
        return f"{rng.choice(cards)} {last}"
    return f"{_words(rng, 2)} {rng.choice(('checking', 'savings'))} {last}"


def _day(rng: Random) -> date:
    return _FIRST_DAY + timedelta(days=rng.randrange(_DAYS))


def _instant(rng: Random) -> datetime:
    at = datetime.combine(_day(rng), datetime.min.time(), UTC)
    return at + timedelta(microseconds=rng.randrange(86_400_000_000))


def _cents(rng: Random) -> int:
    return rng.randrange(1_000, 60_000)


def _method(rng: Random) -> PaymentMethod:
    method = PaymentMethod(
        method_id=f"pm_{rng.getrandbits(64):016x}",
        type=rng.choice(("card", "bank_account")),
        label=_label(rng),
        status=rng.choice(("verified", "verified", "verified", "unverified", "expired")),
    )
    if rng.random() < _HALF:
        return method
    sealed = base64.urlsafe_b64encode(rng.randbytes(48)).decode()
    return PaymentMethod(
        method_id=method.method_id,
        type=method.type,
        label=method.label,
        status=method.status,
        sealed_token=sealed,
    )


def _account(rng: Random) -> bytes:
    billed = _cents(rng)
    return encode_body(
        AccountBody(
            account_id=_account_id(rng),
            customer_id=f"C-{rng.randrange(10_000_000):07d}",
            customer_name=_words(rng, 3),
            email=f"{_word(rng).lower()}.{_word(rng).lower()}@example.com",
            utility_name=_words(rng, 3),
            currency=rng.choice(_CURRENCIES),
            timezone=rng.choice(_ZONES),
            status=rng.choice(("active", "active", "active", "closed")),
            balance_cents=rng.choice((0, billed, _cents(rng))),
            billed_balance_cents=billed,
            latest_statement_id=rng.choice((_statement_id(rng), None)),
            due_date=rng.choice((_day(rng), None)),
            payment_methods=[_method(rng) for _ in range(rng.choice((0, 1, 1, 2)))],
            service_points=[
                ServicePoint(
                    service_point_id=_point_id(rng),
                    meter_id=_meter_id(rng),
                    address=f"{rng.randrange(1, 2_000)} {_words(rng, 3)}",
                    tariff_name=f"Residential {_words(rng, 2)}",
                )
                for _ in range(rng.choice((1, 1, 1, 2)))
            ],
        )
    )


def _payment(rng: Random) -> bytes:
    accepted = _instant(rng)
    state = rng.choice(_STATES)
    reasons = ("method_expired", "id_conflict", "unknown_method", "amount_too_large")
    return encode_body(
        PaymentBody(
            payment_id=f"{rng.getrandbits(128):032x}",
            account_id=_account_id(rng),
            fingerprint=f"{rng.getrandbits(256):064x}",
            state=state,
            amount_cents=_cents(rng),
            currency=rng.choice(_CURRENCIES),
            method_id=f"pm_{rng.getrandbits(64):016x}",
            method_label=_label(rng),
            accepted_at=accepted,
            decided_at=accepted + timedelta(microseconds=rng.randrange(5_000_000)),
            value_date=accepted.date() if state == "posted" else None,
            reason=rng.choice(reasons) if state == "rejected" else "",
            case_number=f"C-{rng.getrandbits(32):08x}" if state == "dead_letter" else "",
        )
    )


def _message(rng: Random) -> bytes:
    accepted = _instant(rng)
    type_, content = rng.choice(
        (
            ("outage_report", {"service_point_id": _point_id(rng), "seen": _words(rng, 6)}),
            (
                "meter_reading",
                {"service_point_id": _point_id(rng), "register_wh": _cents(rng) * 1_000},
            ),
            ("service_request", {"subject": _words(rng, 3), "text": _words(rng, 20)}),
            ("contact_change", {"email": f"{_word(rng).lower()}@example.com", "phone": ""}),
        )
    )
    return encode_body(
        DecidedMessageBody(
            message_id=f"{rng.getrandbits(128):032x}",
            account_id=_account_id(rng),
            fingerprint=f"{rng.getrandbits(256):064x}",
            type=type_,
            state=rng.choice(_STATES),
            body_hash=f"{rng.getrandbits(256):064x}",
            content=msgspec.Raw(msgspec.json.encode(content)),
            accepted_at=accepted,
            decided_at=accepted + timedelta(microseconds=rng.randrange(5_000_000)),
            case_number=rng.choice(("", f"C-{rng.getrandbits(32):08x}")),
        )
    )


def _usage(rng: Random) -> bytes:
    first = _day(rng).replace(day=1)
    mean = rng.choice((300, 600, 900, 1_500, 4_000))
    body = UsageBody(
        account_id=_account_id(rng),
        service_point_id=_point_id(rng),
        month=f"{first:%Y-%m}",
        timezone=rng.choice(_ZONES),
        days=[
            _usage_day(first + timedelta(days=offset), mean, rng)
            for offset in range(rng.choice((28, 30, 31, rng.randrange(1, 28))))
        ],
    )
    return encode_version(body, rng.choice((1, KNOWN_VERSIONS[USAGE])))


def _usage_day(day: date, mean: int, rng: Random) -> UsageDay:
    hours: list[int | None] = [max(0, int(rng.gauss(mean, mean / 2.5))) for _ in range(24)]
    estimated = {rng.randrange(24): rng.randrange(2 * mean)} if rng.random() < _SOME else {}
    return UsageDay(
        day=day,
        usage_wh=sum(value or 0 for value in hours),
        estimated_wh=sum(estimated.values()),
        complete=rng.random() >= _SOME,
        hours=[None if hour in estimated else value for hour, value in enumerate(hours)],
        estimated_hours=estimated,
    )


def _credential(rng: Random) -> bytes:
    def text(size: int) -> str:
        return base64.b64encode(rng.randbytes(size)).rstrip(b"=").decode()

    return encode_body(
        CredentialBody(
            customer_id=f"C-{rng.randrange(10_000_000):07d}",
            account_ids=[_account_id(rng) for _ in range(rng.choice((1, 1, 1, 2)))],
            verifier=f"$argon2id$v=19$m=19456,t=2,p=1${text(16)}${text(32)}",
            credential_version=rng.choice((1, 1, 1, 2, 3)),
            status=rng.choice(("active", "active", "active", "revoked")),
        )
    )


def _line(rng: Random, begin: date, end: date, point_id: str) -> StatementLine:
    kinds: tuple[tuple[_LineKind, str, str], ...] = (
        ("energy", "Energy", "kWh"),
        ("energy", f"Energy, tier {rng.randrange(1, 4)}", "kWh"),
        ("energy", rng.choice(("On-peak energy", "Off-peak energy")), "kWh"),
        ("fixed", "Customer charge", "month"),
        ("fixed", "Customer charge", "day"),
        ("minimum", "Minimum charge adjustment", "month"),
        ("demand", "Demand", "kW"),
        ("tax", _words(rng, 2), "%"),
        ("adjustment", _words(rng, 2), ""),
    )
    kind, description, unit = rng.choice(kinds)
    return StatementLine(
        kind=kind,
        description=description,
        quantity=rng.choice(("1", f"{rng.randrange(1_000_000) / 1000:.3f}")),
        unit=unit,
        unit_price=f"{rng.randrange(1, 50_000) / 100_000}",
        amount_cents=_cents(rng),
        period_from=begin,
        period_to=end,
        estimated=rng.random() < _SOME,
        service_point_id=point_id,
    )


def _statement(rng: Random) -> bytes:
    begin = _day(rng).replace(day=1)
    end = (begin + timedelta(days=32)).replace(day=1)
    before, total, used, register = (
        _cents(rng),
        _cents(rng),
        rng.randrange(10**6),
        rng.randrange(10**8),
    )
    point_id = _point_id(rng)
    change = BillChange(
        label=rng.choice(("Usage", "Usage a day", "Days in the period", "Prices", "Other")),
        detail=f"{rng.randrange(400) / 10} kWh a day before, {rng.randrange(400) / 10} now",
        amount_cents=rng.randrange(-9_000, 9_000),
    )
    return encode_body(
        StatementBody(
            statement_id=_statement_id(rng),
            account_id=_account_id(rng),
            issued_on=end,
            period_from=begin,
            period_to=end,
            due_date=end + timedelta(days=21),
            currency=rng.choice(_CURRENCIES),
            previous_balance_cents=before,
            payments_received_cents=before,
            total_cents=total,
            amount_due_cents=total,
            usage_wh=used,
            estimated_wh=0,
            lines=[_line(rng, begin, end, point_id) for _ in range(rng.randrange(1, 5))],
            meters=[
                MeterRead(
                    meter_id=_meter_id(rng),
                    service_point_id=point_id,
                    read_from=begin,
                    read_to=end,
                    begin_register_wh=register,
                    end_register_wh=register + used,
                    usage_wh=used,
                    estimated_wh=0,
                    end_read=rng.choice(("actual", "actual", "estimated")),
                )
            ],
            tariffs=[
                TariffName(
                    code=f"{_word(rng).lower()}-r",
                    name=f"Residential {_words(rng, 2)}",
                    utility=_words(rng, 3),
                    effective_from=_day(rng),
                    source=rng.choice(("", f"{_words(rng, 3)}, Electric Service Tariff")),
                )
            ],
            payments=[
                PaymentLine(
                    payment_id=f"{rng.getrandbits(128):032x}", value_date=begin, amount_cents=before
                )
                for _ in range(rng.choice((0, 1, 1, 2)))
            ],
            changes=[change] * rng.choice((0, 1)),
            previous_statement_id=rng.choice((_statement_id(rng), None)),
            previous_total_cents=rng.choice((before, None)),
        )
    )


def _archive(rng: Random) -> bytes:
    return encode_body(
        ArchiveBody(
            account_id=_account_id(rng),
            statements=[_archived(rng) for _ in range(rng.randrange(1, 24))],
        )
    )


def _archived(rng: Random) -> ArchivedStatement:
    begin = _day(rng).replace(day=1)
    end = (begin + timedelta(days=32)).replace(day=1)
    return ArchivedStatement(
        statement_id=_statement_id(rng),
        issued_on=end,
        period_from=begin,
        period_to=end,
        due_date=end + timedelta(days=21),
        total_cents=_cents(rng),
        amount_due_cents=_cents(rng),
    )


_MAKERS: Final[dict[str, Callable[[Random], bytes]]] = {
    ACCOUNT: _account,
    ARCHIVE: _archive,
    CREDENTIAL: _credential,
    MESSAGE: _message,
    PAYMENT: _payment,
    STATEMENT: _statement,
    USAGE: _usage,
}
