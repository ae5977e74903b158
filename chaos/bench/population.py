"""
A made-up population of accounts: documents as the core publishes them, in any number, from a seed.

Only the documents are made, no meters, ledgers or passwords behind them: what is measured is how documents travel and
lie. Their bodies are of the core's own types and of the size of the demo data's. Days of usage are drawn out of twelve
thousand different ones: far more than a compression dictionary can hold.
"""

import base64
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Final

import msgspec

from cache_sync.documents import (
    ACCOUNT,
    CREDENTIAL,
    KNOWN_VERSIONS,
    PAYMENT,
    STATEMENT,
    USAGE,
    AccountBody,
    BillChange,
    CredentialBody,
    MeterRead,
    PaymentBody,
    PaymentLine,
    PaymentMethod,
    ServicePoint,
    StatementBody,
    StatementLine,
    TariffName,
    UsageDay,
    encode_body,
    sign_in_key,
)
from cache_sync.publication import Change, Name

STATEMENTS: Final = 2
PAYMENTS: Final = 2
DOCUMENTS_AN_ACCOUNT: Final = 3 + STATEMENTS + PAYMENTS
_STEPS: Final = (CREDENTIAL, ACCOUNT, USAGE, STATEMENT, PAYMENT)
_FIRST_MONTH: Final = date(2026, 9, 1)
_USAGE_DAYS: Final = 30
_USAGE_VERSION: Final = KNOWN_VERSIONS[USAGE]
_DAY_VARIANTS: Final = 400
_ZONE: Final = "America/New_York"
_STREETS: Final = ("Saltmarsh Lane", "Harbor Street", "Quarry Road", "Mill Pond Way", "Elm Avenue")
_FIRST_NAMES: Final = ("Lena", "Marcus", "Priya", "Tom", "Aiko", "Rosa", "Samuel", "Ines", "Omar")
_LAST_NAMES: Final = (
    "Calloway",
    "Okafor",
    "Lindqvist",
    "Reyes",
    "Novak",
    "Tran",
    "Haddad",
    "Weber",
)
_BANKS: Final = ("Harbor Federal", "First Northern", "Quarry Savings", "Union Street")


def account_id_of(number: int) -> str:
    """Return the id of an account by its number, from 0 up."""
    return f"44{number % 100:02d}-{number:07d}-{number * 7 % 97:02d}"


def newest_statement_of(number: int) -> str:
    """Return the id of an account's newest statement."""
    return _statement_id(number, 0)


def method_of(number: int) -> str:
    """Return the id of an account's saved way to pay."""
    return f"pm_{number:07d}_bank"


class Population:
    """
    Accounts by number; the same seed makes the same documents, each account by itself.

    Args:
        seed: Of everything drawn.
        lookup_key: What credentials are filed under (`sign_in_key`).
    """

    def __init__(self, *, seed: int = 1, lookup_key: bytes = b"bench") -> None:
        self._seed = seed
        self._lookup_key = lookup_key
        rng = Random(seed)
        self._days = [
            [_usage_day(_FIRST_MONTH + timedelta(days=offset), rng) for _ in range(_DAY_VARIANTS)]
            for offset in range(_USAGE_DAYS)
        ]

    def documents(self, number: int) -> list[Change]:
        """Make all documents of an account."""
        rng = Random(self._seed << 32 | number)
        account_id = account_id_of(number)
        due = rng.randrange(2_000, 40_000)
        changes = [
            self.account(number, due),
            self.credential(number),
            self._usage(number, account_id, rng),
        ]
        for back in range(STATEMENTS):
            due = rng.randrange(2_000, 40_000)
            changes.append(_statement(number, account_id, back, due, rng))
        changes += [self.payment(number, ordinal) for ordinal in range(PAYMENTS)]
        return changes

    def account(self, number: int, balance_cents: int) -> Change:
        """Make the summary of an account with a balance: what changes with every payment."""
        rng = Random(self._seed << 33 | number)
        first, last = rng.choice(_FIRST_NAMES), rng.choice(_LAST_NAMES)
        account_id = account_id_of(number)
        body = AccountBody(
            account_id=account_id,
            customer_id=f"C-{number:07d}",
            customer_name=f"{first} {last}",
            email=_email(number),
            utility_name="Northwater Power & Light",
            currency="USD",
            timezone=_ZONE,
            status="active",
            balance_cents=balance_cents,
            billed_balance_cents=balance_cents,
            latest_statement_id=_statement_id(number, 0),
            due_date=date(2026, 11, 22),
            payment_methods=[
                PaymentMethod(
                    method_id=method_of(number),
                    type="bank_account",
                    label=f"{rng.choice(_BANKS)} checking ending {rng.randrange(10_000):04d}",
                    status="verified",
                )
            ],
            service_points=[
                ServicePoint(
                    service_point_id=f"SP-{number:07d}",
                    meter_id=f"NW-{number:07d}-{rng.randrange(100_000):05d}",
                    address=f"{rng.randrange(1, 999)} {rng.choice(_STREETS)}",
                    tariff_name="Residential Service",
                )
            ],
        )
        return Change(Name(account_id, ACCOUNT, ""), encode_body(body))

    def payment(self, number: int, ordinal: int) -> Change:
        """Make a payment of an account: the document that appears most often."""
        rng = Random((self._seed << 34 | number) * 1_000_003 + ordinal)
        account_id = account_id_of(number)
        id_ = f"{rng.getrandbits(128):032x}"
        accepted = datetime(2026, 10, 1, 8, tzinfo=UTC) + timedelta(
            seconds=rng.randrange(5_000_000)
        )
        body = PaymentBody(
            payment_id=id_,
            account_id=account_id,
            fingerprint=f"{rng.getrandbits(256):064x}",
            state="posted",
            amount_cents=rng.randrange(1_000, 40_000),
            currency="USD",
            method_id=method_of(number),
            method_label=f"{rng.choice(_BANKS)} checking ending {rng.randrange(10_000):04d}",
            accepted_at=accepted,
            decided_at=accepted + timedelta(microseconds=rng.randrange(900_000)),
            value_date=accepted.date(),
        )
        return Change(Name(account_id, PAYMENT, id_), encode_body(body))

    def credential(self, number: int) -> Change:
        """Make the sign-in of an account's customer; nobody knows a password to it."""
        rng = Random(self._seed << 35 | number)
        account_id = account_id_of(number)

        def text(size: int) -> str:
            return base64.b64encode(rng.randbytes(size)).rstrip(b"=").decode()

        body = CredentialBody(
            customer_id=f"C-{number:07d}",
            account_ids=[account_id],
            verifier=f"$argon2id$v=19$m=19456,t=2,p=1${text(16)}${text(32)}",
            credential_version=1,
        )
        key = sign_in_key(self._lookup_key, _email(number))
        return Change(Name(account_id, CREDENTIAL, key), encode_body(body))

    def _usage(self, number: int, account_id: str, rng: Random) -> Change:
        body = {
            "version": _USAGE_VERSION,
            "account_id": account_id,
            "service_point_id": f"SP-{number:07d}",
            "month": _FIRST_MONTH.strftime("%Y-%m"),
            "timezone": _ZONE,
            "days": [rng.choice(variants) for variants in self._days],
        }
        key = f"{_FIRST_MONTH:%Y-%m}/SP-{number:07d}"
        return Change(Name(account_id, USAGE, key), msgspec.json.encode(body), _USAGE_VERSION)


def in_batches(population: Population, accounts: int, size: int) -> Iterator[list[Change]]:
    """
    Yield the documents of a population in commits of so many accounts.

    Within a commit they follow each other as a core comes to publish them: customers, readings, bills, payments.
    """
    for begin in range(0, accounts, size):
        numbers = range(begin, min(begin + size, accounts))
        made = [change for number in numbers for change in population.documents(number)]
        yield sorted(made, key=lambda change: _STEPS.index(change.name.kind))


def _email(number: int) -> str:
    return f"customer.{number}@example.com"


def _statement_id(number: int, back: int) -> str:
    return f"st_{number:09x}{back:04x}"


def _usage_day(day: date, rng: Random) -> msgspec.Raw:
    hours = [int(rng.gauss(900, 350)) % 3_000 for _ in range(24)]
    estimated = rng.choice((0, 0, 0, 0, hours[3]))
    measured = [None if estimated and hour == 3 else value for hour, value in enumerate(hours)]  # noqa: PLR2004 - as above
    return msgspec.Raw(
        msgspec.json.encode(
            UsageDay(
                day=day,
                usage_wh=sum(hours),
                estimated_wh=estimated,
                complete=True,
                hours=measured,
                estimated_hours={3: estimated} if estimated else {},
            )
        )
    )


def _statement(number: int, account_id: str, back: int, total_cents: int, rng: Random) -> Change:
    begin, end = date(2026, 10 - back, 1), date(2026, 11 - back, 1)
    usage_wh = rng.randrange(200_000, 1_200_000)
    register = rng.randrange(10_000_000, 90_000_000)
    before = rng.randrange(2_000, 40_000)
    body = StatementBody(
        statement_id=_statement_id(number, back),
        account_id=account_id,
        issued_on=end,
        period_from=begin,
        period_to=end,
        due_date=end + timedelta(days=21),
        currency="USD",
        previous_balance_cents=before,
        payments_received_cents=before,
        total_cents=total_cents,
        amount_due_cents=total_cents,
        usage_wh=usage_wh,
        estimated_wh=0,
        lines=_lines(number, begin, end, usage_wh, total_cents),
        meters=[
            MeterRead(
                meter_id=f"NW-{number:07d}-{rng.randrange(100_000):05d}",
                service_point_id=f"SP-{number:07d}",
                read_from=begin,
                read_to=end,
                begin_register_wh=register,
                end_register_wh=register + usage_wh,
                usage_wh=usage_wh,
                estimated_wh=0,
                end_read="actual",
            )
        ],
        tariffs=[
            TariffName(
                code="northwater-r",
                name="Residential Service",
                utility="Northwater Power & Light",
                effective_from=date(2025, 10, 1),
                source="Northwater Power & Light, Electric Service Tariff, Rate R",
            )
        ],
        payments=[
            PaymentLine(
                payment_id=f"{rng.getrandbits(128):032x}", value_date=begin, amount_cents=before
            )
        ],
        changes=[
            BillChange(
                label="Usage a day",
                detail=f"{rng.randrange(100, 400) / 10} kWh a day before, {usage_wh / 31_000:.1f} now",
                amount_cents=total_cents - before,
            )
        ],
        previous_statement_id=_statement_id(number, back + 1),
        previous_total_cents=before,
    )
    return Change(Name(account_id, STATEMENT, body.statement_id), encode_body(body))


def _lines(
    number: int, begin: date, end: date, usage_wh: int, total_cents: int
) -> list[StatementLine]:
    fixed = 1_130
    energy = StatementLine(
        kind="energy",
        description="Energy",
        quantity=f"{usage_wh / 1000:.3f}",
        unit="kWh",
        unit_price="0.23406",
        amount_cents=total_cents - fixed,
        period_from=begin,
        period_to=end,
        service_point_id=f"SP-{number:07d}",
    )
    customer = msgspec.structs.replace(
        energy,
        kind="fixed",
        description="Customer charge",
        quantity="1",
        unit="month",
        unit_price="11.3",
        amount_cents=fixed,
    )
    return [energy, customer]
