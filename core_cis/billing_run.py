"""
The billing run: readings and tariffs become statements, charges and documents.

Every statement is one transaction's work: statement, ledger charge and documents together. A period that was billed is
never billed again. A bill that cannot be made is refused by name and holds up only its own account.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import msgspec

from cache_sync.documents import MeterRead, PaymentLine, StatementBody, encode_body
from cache_sync.sqlite import Connection
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
from core_cis.domain.charges import IntervalUsage, RatedBill, TariffTerm
from core_cis.domain.estimation import REFERENCE_DAYS_MAX, estimate_missing
from core_cis.domain.metering import ESTIMATED_QUALITIES
from core_cis.domain.rating import rate_terms
from core_cis.domain.tariffs import Tariff, tariff_in_force
from core_cis.errors import BillRefused, CannotPrice, MissingReadings
from core_cis.publishing import publish_account, publish_statements
from core_cis.readings import load_blocks, read_days
from core_cis.store import CoreStore, Transaction, new_id
from core_cis.tariff_store import TariffShelf

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


class BillingReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did."""

    through: date
    issued: list[IssuedStatement]
    refused: list[RefusedBill]


class _ServicePoint(msgspec.Struct, frozen=True):
    service_point_id: str
    meter_id: str
    initial_register_wh: int
    first_day: date
    end_day: date | None
    last_read_day: date


def run_billing(
    store: CoreStore,
    through: date,
    *,
    account_ids: Sequence[str] | None = None,
    progress: Callable[[], None] = lambda: None,
) -> BillingReport:
    """
    Bill every account for every period that is over by a day (inclusive), oldest first.

    Args:
        account_ids: Only these accounts; None for all.
        progress: Called after each account.
    """
    tariffs = TariffShelf(store.connection)
    issued: list[IssuedStatement] = []
    refused: list[RefusedBill] = []
    for account_id in account_ids if account_ids is not None else _all_accounts(store.connection):
        with store.transaction() as tx:
            statements, refusal = bill_account(tx, account_id, through, tariffs)
        issued += [_issued(statement) for statement in statements]
        refused += [refusal] if refusal else []
        progress()
    return BillingReport(through=through, issued=issued, refused=refused)


def bill_account(
    tx: Transaction, account_id: str, through: date, tariffs: TariffShelf
) -> tuple[list[StatementBody], RefusedBill | None]:
    """
    Make an account's statements up to a day; the first bill that is refused ends it.

    Returns:
        The new statements, and the refusal if there was one.
    """
    statements: list[StatementBody] = []
    refusal = None
    points = _service_points(tx.connection, account_id)
    previous = _latest_statement(tx.connection, account_id)
    cycle_day = _cycle_day(tx.connection, account_id)
    while points:
        plan = _plan(points, previous, cycle_day, through)
        if plan is None:
            break
        try:
            statement = _make(tx, account_id, plan, points, previous, tariffs)
        except (BillRefused, CannotPrice, MissingReadings) as error:
            refusal = RefusedBill(
                account_id=account_id,
                period_from=plan.period.start,
                period_to=plan.period.end,
                reason=type(error).__name__,
                detail=str(error),
            )
            break
        _record(tx, statement)
        statements.append(statement)
        previous = statement
        cycle_day = cycle_day or statement.period_to.day
    if statements:
        publish_statements(tx, account_id)
        publish_account(tx, account_id)
    return statements, refusal


def _plan(
    points: Sequence[_ServicePoint],
    previous: StatementBody | None,
    cycle_day: int | None,
    through: date,
) -> PlannedBill | None:
    ends = [point.end_day for point in points]
    supply = Supply(
        first_day=min(point.first_day for point in points),
        end_day=None if None in ends else max(end for end in ends if end is not None),
        last_read_day=max(point.last_read_day for point in points),
    )
    if previous is None:
        return first_bill(supply, through)
    assert cycle_day is not None, "an account with a statement has a cycle day"
    return next_bill(
        supply, last_period_to=previous.period_to, cycle_day=cycle_day, through=through
    )


def _make(
    tx: Transaction,
    account_id: str,
    plan: PlannedBill,
    points: Sequence[_ServicePoint],
    previous: StatementBody | None,
    tariffs: TariffShelf,
) -> StatementBody:
    parts = []
    for point in points:
        start = max(plan.period.start, point.first_day)
        end = min(plan.period.end, point.end_day or plan.period.end)
        if start < end:
            parts.append(_bill_point(tx, point, BillPeriod(start, end), plan, tariffs))
    return make_statement(
        statement_id=new_id("st_"),
        account_id=account_id,
        currency=tx.utility.currency,
        period=plan.period,
        parts=parts,
        previous=previous,
        payments=_unlisted_payments(tx.connection, account_id, plan.period.end),
    )


def _bill_point(
    tx: Transaction,
    point: _ServicePoint,
    period: BillPeriod,
    plan: PlannedBill,
    tariffs: TariffShelf,
) -> ServicePointBill:
    zone = ZoneInfo(tx.utility.timezone)
    stored = load_blocks(
        tx.connection, point.service_point_id, period.start - _REFERENCE, period.end + _REFERENCE
    )
    blocks = estimate_missing(stored, period, zone, service_point_id=point.service_point_id)
    terms = _terms(tariffs.of_service_point(point.service_point_id), period, point.service_point_id)
    partial = period != plan.period
    bill = rate_terms(terms, IntervalUsage(blocks), zone=zone, prorate=plan.prorate or partial)
    begin = _end_register(tx.connection, point)
    last_quality = blocks[-1].quality[-1]
    read = MeterRead(
        meter_id=point.meter_id,
        service_point_id=point.service_point_id,
        read_from=period.start,
        read_to=period.end,
        begin_register_wh=begin,
        end_register_wh=begin + bill.usage_wh,
        usage_wh=bill.usage_wh,
        estimated_wh=bill.estimated_wh,
        end_read="estimated" if last_quality in ESTIMATED_QUALITIES else "actual",
    )
    return ServicePointBill(point.service_point_id, _checked(bill), read)


def _checked(bill: RatedBill) -> RatedBill:
    assert bill.total_cents == sum(line.amount_cents for line in bill.lines)
    return bill


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
                " import one that is, or give --effective-from"
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


def _unlisted_payments(
    connection: Connection, account_id: str, issued_on: date
) -> list[PaymentLine]:
    """Find what moved the balance and stands on no statement yet: payments, reversals, corrections."""
    listed = {
        payment_id
        for (body,) in connection.execute(
            "SELECT body FROM statements WHERE account_id = ?", (account_id,)
        )
        for payment_id in _listed(body)
    }
    rows = connection.execute(
        "SELECT t.transaction_id, t.kind, t.payment_id, t.value_date, -sum(e.amount_cents) FROM ledger_entries e"
        " JOIN ledger_transactions t USING (transaction_id) WHERE e.account_id = ? AND t.kind <> 'charge'"
        " AND t.value_date <= ? GROUP BY t.transaction_id ORDER BY t.value_date, t.transaction_id",
        (account_id, issued_on.isoformat()),
    )
    lines = [
        PaymentLine(
            payment_id=payment_id if kind == "payment" else f"{kind} {transaction_id}",
            value_date=date.fromisoformat(value_date),
            amount_cents=amount_cents,
        )
        for transaction_id, kind, payment_id, value_date, amount_cents in rows
    ]
    return [line for line in lines if line.payment_id not in listed]


class _ListedPayment(msgspec.Struct, frozen=True):
    payment_id: str


class _Listed(msgspec.Struct, frozen=True):
    payments: list[_ListedPayment] = []


_decode_listed = msgspec.json.Decoder(_Listed).decode


def _listed(body: bytes) -> list[str]:
    return [payment.payment_id for payment in _decode_listed(body).payments]


def _end_register(connection: Connection, point: _ServicePoint) -> int:
    row = connection.execute(
        "SELECT m.value ->> 'end_register_wh' FROM service_points p JOIN statements s USING (account_id),"
        " json_each(s.body, '$.meters') m WHERE p.service_point_id = ? AND m.value ->> 'meter_id' = ?"
        " ORDER BY s.period_to DESC LIMIT 1",
        (point.service_point_id, point.meter_id),
    ).fetchone()
    return int(row[0]) if row else point.initial_register_wh


def _latest_statement(connection: Connection, account_id: str) -> StatementBody | None:
    row = connection.execute(
        "SELECT body FROM statements WHERE account_id = ? ORDER BY period_to DESC LIMIT 1",
        (account_id,),
    ).fetchone()
    return msgspec.json.decode(row[0], type=StatementBody) if row else None


def _cycle_day(connection: Connection, account_id: str) -> int | None:
    (first,) = connection.execute(
        "SELECT min(period_to) FROM statements WHERE account_id = ?", (account_id,)
    ).fetchone()
    return date.fromisoformat(first).day if first else None


def _all_accounts(connection: Connection) -> list[str]:
    rows = connection.execute("SELECT account_id FROM accounts ORDER BY account_id").fetchall()
    return [account_id for (account_id,) in rows]


def _service_points(connection: Connection, account_id: str) -> list[_ServicePoint]:
    """List what can be billed: service points with readings."""
    points = []
    for (
        service_point_id,
        supplied_from,
        supplied_to,
        closed_on,
        meter_id,
        register,
    ) in connection.execute(
        "SELECT s.service_point_id, s.supplied_from, s.supplied_to, a.closed_on, m.meter_id, m.initial_register_wh"
        " FROM service_points s JOIN accounts a USING (account_id) JOIN meters m USING (service_point_id)"
        " WHERE s.account_id = ? AND m.removed_on IS NULL ORDER BY s.service_point_id",
        (account_id,),
    ).fetchall():
        days = read_days(connection, service_point_id)
        if days is None:
            continue
        end = supplied_to or closed_on
        points.append(
            _ServicePoint(
                service_point_id,
                meter_id,
                register,
                date.fromisoformat(supplied_from) if supplied_from else days[0],
                date.fromisoformat(end) if end else None,
                days[1],
            )
        )
    return points


def _issued(statement: StatementBody) -> IssuedStatement:
    return IssuedStatement(
        account_id=statement.account_id,
        statement_id=statement.statement_id,
        period_from=statement.period_from,
        period_to=statement.period_to,
        total=statement.total_cents,
        amount_due=statement.amount_due_cents,
    )
