"""What ``/api/v1`` says, on the wire: money in minor units, energy in Wh, days as dates, instants in UTC."""

from datetime import date, datetime
from typing import Literal

import msgspec

from cache_sync.documents import (
    ArchivedStatement,
    MeterRead,
    PaymentMethod,
    ServicePoint,
    StatementBody,
    TariffName,
    UsageDay,
)
from edge_portal.views import AccountView
from failover.intents import Receipt, receipt_number


class SignInForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /session``."""

    email: str
    password: str


class SwitchForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /session/account``."""

    account_id: str


class PaymentForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /payments``."""

    amount: int
    method_id: str


class SessionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A token for ``Authorization: Bearer``, valid at every edge; the account it looks at; when it ends (core time)."""

    token: str
    account_id: str
    account_ids: list[str]
    expires_at: datetime


class MethodAnswer(msgspec.Struct, frozen=True):
    """A saved way to pay."""

    id: str
    type: str
    label: str
    status: str


class LateFeeAnswer(msgspec.Struct, frozen=True):
    """A late fee that is in the balance and on no bill yet; negative: one that was taken back."""

    charged_on: date
    amount: int
    statement_id: str


class MayMissAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """
    Payments that other edges may have accepted and that are not known here.

    ``waiting``: they have ``payments``, at least, that are not. ``unheard``: this edge has not heard of all others
    since ``since`` (core time, null where it never did).
    """

    why: Literal["waiting", "unheard"]
    payments: int
    since: datetime | None


class AccountAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """
    An account as of ``as_of``.

    ``balance`` is the ledger's (positive is owed), ``billed_balance`` the last bill's, ``pending_amount`` what was
    accepted or posted and is not in ``balance`` yet, ``left_to_pay`` the balance less that. ``catching_up`` says that
    the caller has already seen newer data at another edge, ``may_miss`` which payments may be counted nowhere here.
    """

    account_id: str
    customer_name: str
    utility_name: str
    status: str
    currency: str
    timezone: str
    balance: int
    billed_balance: int
    pending_amount: int
    left_to_pay: int
    due_date: date | None
    latest_statement_id: str | None
    payment_methods: list[MethodAnswer]
    service_points: list[ServicePoint]
    contact_email: str | None
    contact_phone: str | None
    late_fees: list[LateFeeAnswer]
    as_of: datetime
    age_seconds: float
    age_at_least: bool
    catching_up: bool
    payments_open: bool
    may_miss: MayMissAnswer | None


class StatementItem(msgspec.Struct, frozen=True, kw_only=True):
    """A statement in the list; an ``archived`` one is asked of the core when it is opened."""

    id: str
    issued_on: date
    period_from: date
    period_to: date
    due_date: date
    total: int
    amount_due: int
    archived: bool


class StatementList(msgspec.Struct, frozen=True):
    """All statements, newest first."""

    items: list[StatementItem]


class LineAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One printed line; ``quantity`` and ``unit_price`` are decimal strings."""

    kind: str
    description: str
    quantity: str
    unit: str
    unit_price: str
    amount: int
    period_from: date
    period_to: date
    estimated: bool
    service_point_id: str


class CountedPayment(msgspec.Struct, frozen=True):
    """A payment counted in a statement; ``description`` says what else moved the balance, such as a late fee."""

    id: str
    value_date: date
    amount: int
    description: str = ""


class ChangeAnswer(msgspec.Struct, frozen=True):
    """A reason why a statement's total differs from the one before; positive when it adds."""

    label: str
    detail: str
    amount: int


class StatementAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One statement; ``amount_due`` = ``previous_balance`` - ``payments_received`` + ``total``."""

    id: str
    account_id: str
    issued_on: date
    period_from: date
    period_to: date
    due_date: date
    currency: str
    previous_balance: int
    payments_received: int
    total: int
    amount_due: int
    usage_wh: int
    estimated_wh: int
    lines: list[LineAnswer]
    meters: list[MeterRead]
    tariffs: list[TariffName]
    payments: list[CountedPayment]
    changes: list[ChangeAnswer]
    previous_statement_id: str | None
    archived: bool


class DayAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """
    A local day; ``estimated_wh`` is the part of ``usage_wh`` that was estimated.

    ``hours`` lists its 23, 24 or 25 hours in order, null where nothing is known; ``estimated_hours`` numbers those,
    from 0 on, of which a part was estimated, or may have been.
    """

    day: date
    usage_wh: int
    estimated_wh: int
    complete: bool
    hours: list[int | None]
    estimated_hours: list[int]


class UsageMonth(msgspec.Struct, frozen=True, kw_only=True):
    """A local month of one service point."""

    month: str
    service_point_id: str
    timezone: str
    days: list[DayAnswer]


class UsageAnswer(msgspec.Struct, frozen=True):
    """Usage by month, oldest first."""

    items: list[UsageMonth]


class PaymentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """
    A payment as far as it is known here.

    ``durable`` says that a second copy exists. ``value_date`` is the day it counts as paid. ``told`` says in words
    what the receipt page says; it is null where payments are listed or just made.
    """

    id: str
    receipt_number: str
    state: str
    amount: int
    currency: str
    method_id: str
    accepted_at: datetime
    durable: bool
    decided_at: datetime | None
    value_date: date | None
    reason: str
    case_number: str
    told: str | None = None


class PaymentList(msgspec.Struct, frozen=True):
    """All payments known here, newest first, each once; and what others there may be."""

    items: list[PaymentAnswer]
    may_miss: MayMissAnswer | None


def may_miss_answer(view: AccountView) -> MayMissAnswer | None:
    """Tell which payments may be missed."""
    missed = view.may_miss
    if missed is None:
        return None
    return MayMissAnswer(why=missed.why, payments=missed.payments, since=missed.since)


def account_answer(view: AccountView) -> AccountAnswer:
    """Tell an account."""
    account = view.account
    return AccountAnswer(
        account_id=account.account_id,
        customer_name=account.customer_name,
        utility_name=account.utility_name,
        status=account.status,
        currency=account.currency,
        timezone=account.timezone,
        balance=view.balance_cents,
        billed_balance=view.billed_cents,
        pending_amount=view.pending_cents,
        left_to_pay=view.left_to_pay_cents,
        due_date=account.due_date,
        latest_statement_id=account.latest_statement_id,
        payment_methods=[_method(method) for method in account.payment_methods],
        service_points=account.service_points,
        contact_email=account.contact_email or None,
        contact_phone=account.contact_phone or None,
        late_fees=[
            LateFeeAnswer(fee.on, fee.amount_cents, fee.statement_id)
            for fee in account.late_fees or []
        ],
        as_of=view.freshness.as_of,
        age_seconds=view.freshness.age_seconds,
        age_at_least=view.freshness.at_least,
        catching_up=view.catching_up,
        payments_open=view.mode.can_pay(view.freshness),
        may_miss=may_miss_answer(view),
    )


def statement_items(view: AccountView) -> list[StatementItem]:
    """List what is held, then what the core alone holds."""
    return [
        *(_item(statement, archived=False) for statement in view.statements),
        *(_item(statement, archived=True) for statement in view.archived),
    ]


def statement_answer(body: StatementBody, *, archived: bool) -> StatementAnswer:
    """Tell a whole statement."""
    return StatementAnswer(
        id=body.statement_id,
        account_id=body.account_id,
        issued_on=body.issued_on,
        period_from=body.period_from,
        period_to=body.period_to,
        due_date=body.due_date,
        currency=body.currency,
        previous_balance=body.previous_balance_cents,
        payments_received=body.payments_received_cents,
        total=body.total_cents,
        amount_due=body.amount_due_cents,
        usage_wh=body.usage_wh,
        estimated_wh=body.estimated_wh,
        lines=[
            LineAnswer(
                kind=line.kind,
                description=line.description,
                quantity=line.quantity,
                unit=line.unit,
                unit_price=line.unit_price,
                amount=line.amount_cents,
                period_from=line.period_from,
                period_to=line.period_to,
                estimated=line.estimated,
                service_point_id=line.service_point_id,
            )
            for line in body.lines
        ],
        meters=body.meters,
        tariffs=body.tariffs,
        payments=[
            CountedPayment(
                payment.payment_id,
                payment.value_date,
                payment.amount_cents,
                payment.description or "",
            )
            for payment in body.payments
        ],
        changes=[
            ChangeAnswer(change.label, change.detail, change.amount_cents)
            for change in body.changes
        ],
        previous_statement_id=body.previous_statement_id,
        archived=archived,
    )


def _day(day: UsageDay) -> DayAnswer:
    return DayAnswer(
        day=day.day,
        usage_wh=day.usage_wh,
        estimated_wh=day.estimated_wh,
        complete=day.complete,
        hours=day.all_hours,
        estimated_hours=sorted(day.estimated_hours),
    )


def usage_answer(view: AccountView, month: str | None) -> UsageAnswer:
    """Tell usage, of one month or of all that are held."""
    return UsageAnswer(
        [
            UsageMonth(
                month=body.month,
                service_point_id=body.service_point_id,
                timezone=body.timezone,
                days=[_day(day) for day in body.days],
            )
            for body in view.usage
            if month is None or body.month == month
        ]
    )


def payment_answer(receipt: Receipt, told: str | None = None) -> PaymentAnswer:
    """Tell a payment, in words too where there are any."""
    return PaymentAnswer(
        id=receipt.intent_id,
        receipt_number=receipt_number(receipt.intent_id),
        state=receipt.state,
        amount=receipt.amount_cents,
        currency=receipt.currency,
        method_id=receipt.method_id,
        accepted_at=receipt.accepted_at,
        durable=receipt.durable,
        decided_at=receipt.decided_at,
        value_date=receipt.value_date,
        reason=receipt.reason,
        case_number=receipt.case_number,
        told=told,
    )


def _method(method: PaymentMethod) -> MethodAnswer:
    return MethodAnswer(method.method_id, method.type, method.label, method.status)


def _item(statement: StatementBody | ArchivedStatement, *, archived: bool) -> StatementItem:
    return StatementItem(
        id=statement.statement_id,
        issued_on=statement.issued_on,
        period_from=statement.period_from,
        period_to=statement.period_to,
        due_date=statement.due_date,
        total=statement.total_cents,
        amount_due=statement.amount_due_cents,
        archived=archived,
    )
