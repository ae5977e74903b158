"""One rich account: bills, readings, ways to pay, payments."""

from datetime import UTC, date, datetime, timedelta

from cache_sync.documents import (
    AccountBody,
    ArchivedStatement,
    BillChange,
    MeterRead,
    PaymentLine,
    PaymentMethod,
    ServicePoint,
    StatementBody,
    StatementLine,
    TariffName,
    UsageBody,
    UsageDay,
)
from failover.intents import Receipt, State, fingerprint, intent_id, message_fingerprint
from failover.message_bodies import MessageBody, hash_body, type_of

ACCOUNT = "4418220731"
OTHER_ACCOUNT = "4418220999"
ZONE = "America/New_York"
AS_OF = datetime(2026, 11, 17, 14, 42, 33, tzinfo=UTC)
BANK = "pm_bank"
PERIODS = (
    ("S-2026-11", date(2026, 10, 10), date(2026, 11, 10), date(2026, 11, 11), 12556, 612_000),
    ("S-2026-10", date(2026, 9, 10), date(2026, 10, 10), date(2026, 10, 12), 11199, 548_000),
    ("S-2026-09", date(2026, 8, 10), date(2026, 9, 10), date(2026, 9, 11), 13820, 664_000),
    ("S-2026-08", date(2026, 7, 11), date(2026, 8, 10), date(2026, 8, 12), 15173, 742_000),
)
HOUR_SHARES = (
    22,
    20,
    19,
    19,
    19,
    23,
    38,
    51,
    45,
    36,
    31,
    30,
    33,
    32,
    31,
    36,
    49,
    72,
    90,
    87,
    71,
    57,
    41,
    29,
)


def bill_lines(index: int) -> list[StatementLine]:
    """Build a bill's lines; they sum up to its total."""
    _, first, end, _, total, usage = PERIODS[index]
    fixed, first_tier, tax = 1302, 5620, 483
    rows = (
        ("fixed", "Customer charge", str((end - first).days), "day", "0.4200", fixed),
        ("energy", "Energy, first 500 kWh", "500", "kWh", "0.1124", first_tier),
        (
            "energy",
            "Energy, above 500 kWh",
            str(usage // 1000 - 500),
            "kWh",
            "0.1386",
            total - fixed - first_tier - tax,
        ),
        ("tax", "City utility tax", "120.73", "$", "0.04", tax),
    )
    return [
        StatementLine(
            kind=kind,  # type: ignore[arg-type]
            description=description,
            quantity=quantity,
            unit=unit,
            unit_price=price,
            amount_cents=amount,
            period_from=first,
            period_to=end,
            estimated=index == 0 and "above" in description,
        )
        for kind, description, quantity, unit, price, amount in rows
    ]


def meter_read(index: int) -> MeterRead:
    """Build what the meter measured; the newest period ends with an estimate."""
    _, first, end, _, _, usage = PERIODS[index]
    return MeterRead(
        meter_id="NW 20 771 384",
        service_point_id="sp-1",
        read_from=first,
        read_to=end,
        begin_register_wh=48_211_000,
        end_register_wh=48_211_000 + usage,
        usage_wh=usage,
        estimated_wh=58_000 if index == 0 else 0,
        end_read="estimated" if index == 0 else "actual",
    )


TARIFF = TariffName(
    code="R-1",
    name="Residential Service R-1",
    utility="Northwater Power & Light",
    effective_from=date(2026, 1, 1),
)
CHANGES = [
    BillChange(label="You used 64 kWh more", detail="612 kWh, up from 548", amount_cents=1263),
    BillChange(label="One more day in the bill", detail="31 days, up from 30", amount_cents=42),
    BillChange(label="Tax on the higher amount", detail="4%, the same rate", amount_cents=52),
]


def statement(index: int) -> StatementBody:
    """Build one of the account's bills, 0 is the newest."""
    name, first, end, issued, total, usage = PERIODS[index]
    older = PERIODS[index + 1] if index + 1 < len(PERIODS) else None
    paid = [
        PaymentLine(
            payment_id=f"p-{name}", value_date=older[3] + timedelta(16), amount_cents=older[4]
        )
        for older in PERIODS[index + 1 : index + 2]
    ]
    meter = meter_read(index)
    return StatementBody(
        statement_id=name,
        account_id=ACCOUNT,
        issued_on=issued,
        period_from=first,
        period_to=end,
        due_date=issued + timedelta(days=21),
        currency="USD",
        previous_balance_cents=older[4] if older else 0,
        payments_received_cents=older[4] if older else 0,
        total_cents=total,
        amount_due_cents=total,
        usage_wh=usage,
        estimated_wh=meter.estimated_wh,
        lines=bill_lines(index),
        meters=[meter],
        tariffs=[TARIFF],
        payments=paid,
        changes=CHANGES if index == 0 else [],
        previous_statement_id=older[0] if older else None,
        previous_total_cents=older[4] if older else None,
    )


def usage_day(day: date) -> UsageDay:
    """Build a day of readings; November 8 and 9 are estimated, of the 7th the hours from 3 to 5 a.m."""
    base = 17_000 + (day.toordinal() * 7919) % 6_000 + (14_000 if day == date(2026, 10, 24) else 0)
    hours: list[int | None] = [base * share // sum(HOUR_SHARES) for share in HOUR_SHARES]
    used = sum(hour or 0 for hour in hours)
    estimated = {
        hour: value
        for hour, value in enumerate(hours)
        if value is not None
        and (
            date(2026, 11, 8) <= day <= date(2026, 11, 9)
            or (day == date(2026, 11, 7) and hour in {3, 4})
        )
    }
    return UsageDay(
        day=day,
        usage_wh=used,
        estimated_wh=sum(estimated.values()),
        complete=True,
        hours=[None if hour in estimated else value for hour, value in enumerate(hours)],
        estimated_hours=estimated,
    )


def usage() -> list[UsageBody]:
    """Build the account's readings from July 11 to November 16."""
    months: dict[str, list[UsageDay]] = {}
    day = date(2026, 7, 11)
    while day <= date(2026, 11, 16):
        months.setdefault(f"{day:%Y-%m}", []).append(usage_day(day))
        day += timedelta(days=1)
    return [
        UsageBody(
            account_id=ACCOUNT, service_point_id="sp-1", month=month, timezone=ZONE, days=days
        )
        for month, days in months.items()
    ]


def account(**changes: object) -> AccountBody:
    """Build the account's summary."""
    values: dict[str, object] = {
        "account_id": ACCOUNT,
        "customer_id": "C-1",
        "customer_name": "Ines Calloway",
        "email": "ines@example.com",
        "utility_name": "Northwater Power & Light",
        "currency": "USD",
        "timezone": ZONE,
        "status": "active",
        "balance_cents": 10056,
        "billed_balance_cents": 12556,
        "latest_statement_id": "S-2026-11",
        "due_date": date(2026, 12, 2),
        "payment_methods": [
            PaymentMethod(
                method_id=BANK,
                type="bank_account",
                label="Checking account ending 0417",
                status="verified",
            ),
            PaymentMethod(
                method_id="pm_visa", type="card", label="Visa ending 2291", status="verified"
            ),
            PaymentMethod(
                method_id="pm_old", type="card", label="Visa ending 1111", status="expired"
            ),
        ],
        "service_points": [
            ServicePoint(
                service_point_id="sp-1",
                meter_id="NW 20 771 384",
                address="14 Alder Quay",
                tariff_name="Residential Service R-1",
            )
        ],
    }
    return AccountBody(**(values | changes))  # type: ignore[arg-type]


def payment(
    key: str, amount_cents: int, state: State, accepted_at: datetime, **more: object
) -> Receipt:
    """Build a payment of the account."""
    values: dict[str, object] = {
        "intent_id": intent_id(ACCOUNT, key),
        "fingerprint": fingerprint(
            account_id=ACCOUNT,
            type_="payment",
            amount_cents=amount_cents,
            currency="USD",
            method_id=BANK,
        ),
        "account_id": ACCOUNT,
        "state": state,
        "amount_cents": amount_cents,
        "currency": "USD",
        "method_id": BANK,
        "accepted_at": accepted_at,
        "durable": state not in {"checking", "void"},
    }
    return Receipt(**(values | more))  # type: ignore[arg-type]


def message(key: str, body: MessageBody, state: State, **more: object) -> Receipt:
    """Build a message of the account."""
    values: dict[str, object] = {
        "intent_id": intent_id(ACCOUNT, key),
        "fingerprint": message_fingerprint(
            account_id=ACCOUNT, type_=type_of(body), body_hash=hash_body(body)
        ),
        "account_id": ACCOUNT,
        "state": state,
        "type": type_of(body),
        "body_hash": hash_body(body),
        "body": body,
        "accepted_at": AS_OF,
        "durable": state not in {"checking", "void"},
    }
    return Receipt(**(values | more))  # type: ignore[arg-type]


PAID_EARLIER = payment(
    "earlier",
    2500,
    "posted",
    datetime(2026, 11, 14, 16, 0, tzinfo=UTC),
    decided_at=datetime(2026, 11, 14, 16, 0, tzinfo=UTC),
    value_date=date(2026, 11, 14),
)
PAID_TODAY = AS_OF + timedelta(minutes=98)
ARCHIVED = ArchivedStatement(
    statement_id="S-2026-04",
    issued_on=date(2026, 4, 12),
    period_from=date(2026, 3, 11),
    period_to=date(2026, 4, 10),
    due_date=date(2026, 5, 3),
    total_cents=14011,
    amount_due_cents=14011,
)
