"""
The billing run: readings and tariffs become statements, charges and documents.

Every statement is one transaction's work: statement, ledger charge and documents together. A period that was billed is
never billed again. A bill that cannot be made is refused by name and holds up only its own account.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import msgspec

from cache_sync.documents import STATEMENT, MeterRead, StatementBody, encode_body
from cache_sync.sql import Connection
from core_cis.billing_sources import (
    BilledServicePoint,
    BillingHistory,
    read_history,
    read_service_points,
    unlisted_payments,
)
from core_cis.bookkeeping import post
from core_cis.domain import ledger
from core_cis.domain.billing import (
    PlannedBill,
    ServicePointBill,
    Supply,
    first_bill,
    make_statement,
    next_bill,
)
from core_cis.domain.calendar import BillPeriod
from core_cis.domain.charges import IntervalUsage, TariffTerm
from core_cis.domain.estimation import REFERENCE_DAYS_MAX, estimate_missing
from core_cis.domain.metering import ESTIMATED_QUALITIES, IntervalBlock
from core_cis.domain.rating import rate_terms
from core_cis.domain.tariffs import Tariff, tariff_in_force
from core_cis.erasures import erased_accounts
from core_cis.errors import (
    BillRefused,
    CannotPrice,
    DocumentTooLarge,
    InvalidTariff,
    MissingReadings,
    UnknownAccount,
)
from core_cis.publishing import publish_account, publish_statements
from core_cis.readings import load_blocks, store_blocks
from core_cis.store import CoreStore, Transaction, check_size, new_id
from core_cis.tariff_store import TariffShelf

_REFUSALS = (BillRefused, CannotPrice, DocumentTooLarge, InvalidTariff, MissingReadings)
_REFERENCE = timedelta(days=REFERENCE_DAYS_MAX)


class IssuedStatement(msgspec.Struct, frozen=True, kw_only=True):
    """A statement that a run made; amounts in minor units."""

    account_id: str
    statement_id: str
    period_from: date
    period_to: date
    total: int
    amount_due: int


class RefusedBill(msgspec.Struct, frozen=True, kw_only=True):
    """A bill that could not be made, and why."""

    account_id: str
    period_from: date
    period_to: date
    reason: str
    detail: str


class WaitingAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account that never had a bill and cannot have one yet, and what it waits for."""

    account_id: str
    detail: str


class BillingReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did. ``up_to_date`` counts accounts whose periods were all billed before."""

    through: date
    issued: list[IssuedStatement]
    refused: list[RefusedBill]
    waiting: list[WaitingAccount]
    up_to_date: int


class _BilledPart(msgspec.Struct, frozen=True):
    """A service point's part of a statement, and the days of readings it was billed with."""

    bill: ServicePointBill
    blocks: list[IntervalBlock]


def run_billing(
    store: CoreStore,
    through: date,
    *,
    account_ids: Sequence[str] | None = None,
    issued_on: date | None = None,
    progress: Callable[[], None] = lambda: None,
) -> BillingReport:
    """
    Bill every account for every period that is over by a day (inclusive), oldest first.

    Every account is a transaction of its own: a run that was killed is simply run again.

    Args:
        account_ids: Only these accounts; None for all.
        issued_on: The day the statements are issued, from which they fall due; never before the day after their
            period, which is the default.
        progress: Called after each account.

    Raises:
        UnknownAccount: One of the accounts named does not exist, or its customer was forgotten; nothing was billed.
    """
    known = all_accounts(store.connection)
    for account_id in set(account_ids or ()) - set(known):
        raise UnknownAccount(account_id)
    tariffs = TariffShelf(store.connection)
    issued: list[IssuedStatement] = []
    refused: list[RefusedBill] = []
    waiting: list[WaitingAccount] = []
    up_to_date = 0
    for account_id in known if account_ids is None else dict.fromkeys(account_ids):
        statements, refusal, reason = store.run(
            partial(_bill_or_wait, account_id, through, tariffs, issued_on)
        )
        if not statements and not refusal:
            waiting += [WaitingAccount(account_id=account_id, detail=reason)] if reason else []
            up_to_date += not reason
        issued += [_issued(statement) for statement in statements]
        refused += [refusal] if refusal else []
        progress()
    return BillingReport(
        through=through, issued=issued, refused=refused, waiting=waiting, up_to_date=up_to_date
    )


def _bill_or_wait(
    account_id: str,
    through: date,
    tariffs: TariffShelf,
    issued_on: date | None,
    tx: Transaction,
) -> tuple[list[StatementBody], RefusedBill | None, str]:
    statements, refusal = bill_account(tx, account_id, through, tariffs, issued_on=issued_on)
    reason = ""
    if not statements and not refusal:
        reason = _why_not_yet(tx.connection, account_id, through)
    return statements, refusal, reason


def all_accounts(connection: Connection) -> list[str]:
    """List every account, but for those of customers who were forgotten: nothing is left to bill."""
    rows = connection.execute("SELECT account_id FROM accounts ORDER BY account_id").fetchall()
    erased = erased_accounts(connection)
    return [account_id for (account_id,) in rows if account_id not in erased]


def bill_account(
    tx: Transaction,
    account_id: str,
    through: date,
    tariffs: TariffShelf,
    *,
    issued_on: date | None = None,
) -> tuple[list[StatementBody], RefusedBill | None]:
    """
    Make an account's statements up to a day; the first bill that is refused ends it.

    ``issued_on`` as in `run_billing`.

    Returns:
        The new statements, and the refusal if there was one.
    """
    statements: list[StatementBody] = []
    refusal = None
    tx.hold_accounts([account_id])
    points = read_service_points(tx.connection, account_id)
    history = read_history(tx.connection, account_id)
    while (plan := _plan(points, history, through)) is not None:
        try:
            issued = max(plan.period.end, issued_on or plan.period.end)
            statement, parts = _make(tx, account_id, plan, points, history, tariffs, issued)
            check_size(account_id, STATEMENT, encode_body(statement))
        except _REFUSALS as error:
            refusal = RefusedBill(
                account_id=account_id,
                period_from=plan.period.start,
                period_to=plan.period.end,
                reason=type(error).__name__,
                detail=str(error),
            )
            break
        _record(tx, statement)
        for part in parts:
            _keep_estimates(tx, part)
        statements.append(statement)
        history.add(statement)
    if statements:
        publish_statements(tx, account_id)
        publish_account(tx, account_id)
    return statements, refusal


def _plan(
    points: Sequence[BilledServicePoint], history: BillingHistory, through: date
) -> PlannedBill | None:
    first_days = [point.first_day for point in points if point.first_day is not None]
    if not first_days:
        return None
    ends = [point.end_day for point in points]
    last_read_days = [point.last_read_day for point in points if point.last_read_day is not None]
    supply = Supply(
        first_day=min(first_days),
        end_day=None if None in ends else max(end for end in ends if end is not None),
        last_read_day=max(last_read_days, default=None),
    )
    if history.previous is None:
        return first_bill(supply, through)
    assert history.cycle_day is not None, "an account with a statement has a cycle day"
    return next_bill(
        supply,
        last_period_to=history.previous.period_to,
        cycle_day=history.cycle_day,
        through=through,
    )


def _why_not_yet(connection: Connection, account_id: str, through: date) -> str:
    """Tell why an account never had a bill; empty when it had one."""
    if read_history(connection, account_id).previous is not None:
        return ""
    points = read_service_points(connection, account_id)
    for point in points:
        if point.last_read_day is not None:
            return f"no whole day of its supply was over and read by {through.isoformat()}"
    names = ", ".join(point.service_point_id for point in points)
    return (
        f"no whole day was read at service point {names}; import readings with:"
        " core import green-button FILE --service-point ID"
    )


def _make(
    tx: Transaction,
    account_id: str,
    plan: PlannedBill,
    points: Sequence[BilledServicePoint],
    history: BillingHistory,
    tariffs: TariffShelf,
    issued_on: date,
) -> tuple[StatementBody, list[_BilledPart]]:
    parts = []
    for point in points:
        period = _unbilled(point, plan, history)
        if period is not None:
            parts.append(_bill_point(tx, point, period, plan, tariffs, history.register_wh(point)))
    statement = make_statement(
        statement_id=new_id("st_"),
        account_id=account_id,
        currency=tx.utility.currency,
        period=plan.period,
        issued_on=issued_on,
        parts=[part.bill for part in parts],
        previous=history.previous,
        payments=unlisted_payments(tx.connection, account_id, issued_on, history.listed_payments),
    )
    return statement, parts


def _unbilled(
    point: BilledServicePoint, plan: PlannedBill, history: BillingHistory
) -> BillPeriod | None:
    """
    Tell which days of a service point a bill is about: up to its end, all that no bill was about before.

    A service point that joined late is billed from its own first day, so no usage is forgotten.
    """
    end = min(plan.period.end, point.end_day or plan.period.end)
    start = history.billed_to(point) or point.first_day
    if start is None:
        if end <= plan.period.start:
            return None
        raise BillRefused(
            f"service point {point.service_point_id} has no readings: import them, or say in the customer file"
            " when its supply starts (supplied_from) or ended (supplied_to)"
        )
    return BillPeriod(start, end) if start < end else None


def _bill_point(
    tx: Transaction,
    point: BilledServicePoint,
    period: BillPeriod,
    plan: PlannedBill,
    tariffs: TariffShelf,
    begin_register_wh: int,
) -> _BilledPart:
    zone = ZoneInfo(tx.utility.timezone)
    stored = load_blocks(
        tx.connection, point.service_point_id, period.start - _REFERENCE, period.end + _REFERENCE
    )
    blocks = estimate_missing(stored, period, zone, service_point_id=point.service_point_id)
    terms = _terms(tariffs.of_service_point(point.service_point_id), period, point.service_point_id)
    partial = period != plan.period
    bill = rate_terms(terms, IntervalUsage(blocks), zone=zone, prorate=plan.prorate or partial)
    assert bill.total_cents == sum(line.amount_cents for line in bill.lines)
    last_quality = blocks[-1].quality[-1]
    read = MeterRead(
        meter_id=point.meter_id,
        service_point_id=point.service_point_id,
        read_from=period.start,
        read_to=period.end,
        begin_register_wh=begin_register_wh,
        end_register_wh=begin_register_wh + bill.usage_wh,
        usage_wh=bill.usage_wh,
        estimated_wh=bill.estimated_wh,
        end_read="estimated" if last_quality in ESTIMATED_QUALITIES else "actual",
    )
    return _BilledPart(ServicePointBill(point.service_point_id, bill, read), blocks)


def _keep_estimates(tx: Transaction, part: _BilledPart) -> None:
    """Store what was estimated, marked as that: the usage a customer sees is what he was billed for."""
    read = part.bill.read
    estimated = [
        block for block in part.blocks if not ESTIMATED_QUALITIES.isdisjoint(block.quality)
    ]
    if estimated:
        store_blocks(tx, read.service_point_id, estimated, meter_id=read.meter_id)


def _terms(
    versions: Sequence[tuple[date, Sequence[Tariff]]], period: BillPeriod, service_point_id: str
) -> list[TariffTerm]:
    """Cut a period where the service point's plan, or the plan's version, changes."""
    terms: list[TariffTerm] = []
    for day in period.each_day():
        plans = [plan for assigned_from, plan in versions if assigned_from <= day]
        tariff = tariff_in_force(plans[-1], day) if plans else None
        if tariff is None:
            raise BillRefused(
                f"service point {service_point_id}: no tariff is in force on {day.isoformat()};"
                " import one that is, or import it again with an earlier --effective-from"
            )
        if terms and terms[-1].tariff is tariff:
            continue
        if terms:
            terms[-1] = TariffTerm(terms[-1].tariff, BillPeriod(terms[-1].period.start, day))
        terms.append(TariffTerm(tariff, BillPeriod(day, period.end)))
    return terms


def _record(tx: Transaction, statement: StatementBody) -> None:
    tx.connection.execute(
        "INSERT INTO statements (statement_id, account_id, period_from, period_to, issued_on, due_date, total_cents,"
        " amount_due_cents, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            statement.statement_id,
            statement.account_id,
            statement.period_from.isoformat(),
            statement.period_to.isoformat(),
            statement.issued_on.isoformat(),
            statement.due_date.isoformat(),
            statement.total_cents,
            statement.amount_due_cents,
            encode_body(statement),
        ),
    )
    charge = ledger.charge(
        account_id=statement.account_id,
        statement_id=statement.statement_id,
        value_date=statement.issued_on,
        description=f"Bill of {statement.issued_on.isoformat()}",
        lines=[(line.kind, line.amount_cents) for line in statement.lines],
    )
    if charge is not None:
        post(tx, charge)


def _issued(statement: StatementBody) -> IssuedStatement:
    return IssuedStatement(
        account_id=statement.account_id,
        statement_id=statement.statement_id,
        period_from=statement.period_from,
        period_to=statement.period_to,
        total=statement.total_cents,
        amount_due=statement.amount_due_cents,
    )
