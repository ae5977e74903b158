"""
Domain changes become documents, in the transaction that changes the domain.

Each function brings an edge's view of one thing up to date and may be called as often as one likes: what did not
change publishes nothing. It holds the account or the customer before it reads, so that of two transactions that
overlap the later one publishes what both have changed. Whoever has changed a row calls the function of what shows it:

- account, method, contact, service point, tariff of a service point, ledger entry, late fee: `publish_account`
- statement: `publish_statements` (and `publish_account`)
- payment: `publish_payment` (and `publish_account`)
- readings: `publish_usage`
- customer, or the accounts of one: `publish_credential`

Of a customer who was forgotten nothing is published any more, whatever is called (`core_cis.outgoing`).
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from cache_sync.documents import (
    ACCOUNT,
    ARCHIVE,
    CREDENTIAL,
    PAYMENT,
    STATEMENT,
    USAGE,
    AccountBody,
    ArchiveBody,
    ArchivedStatement,
    CredentialBody,
    FeeSinceBill,
    PaymentBody,
    PaymentMethod,
    ServicePoint,
    StatementBody,
    UsageBody,
    UsageDay,
    sign_in_key,
)
from cache_sync.sql import Connection, places
from core_cis.bookkeeping import balances_cents
from core_cis.collection_records import read_steps
from core_cis.errors import UnknownAccount
from core_cis.instants import from_text, local_date
from core_cis.store import Transaction

ARCHIVE_KEY = "statements"
# ESPI's QualityOfReading: estimated by reference day, and linearly.
ESTIMATED_QUALITIES = frozenset({8, 9})
_HOUR_SECONDS = 3600
_MONTHS_A_YEAR = 12

_ACCOUNTS = """
    SELECT a.account_id, a.customer_id, c.name, c.email, a.status,
        (SELECT value FROM contacts k WHERE k.customer_id = a.customer_id AND k.field = 'email'),
        (SELECT value FROM contacts k WHERE k.customer_id = a.customer_id AND k.field = 'phone')
    FROM accounts a JOIN customers c USING (customer_id) WHERE a.account_id IN ({})
"""
_LATEST_STATEMENTS = """
    SELECT account_id, statement_id, due_date, amount_due_cents, issued_on FROM statements s
    WHERE account_id IN ({}) AND period_to = (SELECT max(period_to) FROM statements WHERE account_id = s.account_id)
"""
_METHODS = """
    SELECT account_id, method_id, type, label, status, token FROM payment_methods
    WHERE account_id IN ({}) ORDER BY rowid
"""
_SERVICE_POINTS = """
    SELECT s.account_id, s.service_point_id, s.address,
        (SELECT m.meter_id FROM meters m WHERE m.service_point_id = s.service_point_id
         ORDER BY m.removed_on IS NOT NULL, m.installed_on DESC NULLS LAST, m.meter_id LIMIT 1),
        (SELECT t.name FROM service_point_tariffs p JOIN tariffs t ON t.code = p.tariff_code
         WHERE p.service_point_id = s.service_point_id
         ORDER BY p.effective_from DESC, t.effective_from DESC LIMIT 1)
    FROM service_points s WHERE s.account_id IN ({}) ORDER BY s.service_point_id
"""
_PAYMENTS = """
    SELECT payment_id, account_id, fingerprint, state, amount_cents, currency, method_id, method_label, accepted_at,
        decided_at, value_date, reason, case_number
    FROM payments WHERE payment_id IN ({})
"""
_BLOCKS = """
    SELECT day, interval_seconds, values_wh, qualities FROM interval_blocks
    WHERE service_point_id = ? AND day >= ? AND day < ? ORDER BY day
"""


def publish_account(tx: Transaction, account_id: str) -> None:
    """
    Publish what the overview shows of an account: its balance, latest statement, methods and service points.

    Raises:
        UnknownAccount: There is none.
    """
    publish_accounts(tx, [account_id])


def publish_accounts(tx: Transaction, account_ids: Sequence[str]) -> None:
    """
    Publish what the overview shows of some accounts, as `publish_account` does of each, in few statements.

    Raises:
        UnknownAccount: There is none of one of the ids.
    """
    if not account_ids:
        return
    tx.hold_accounts(account_ids)
    accounts = {account_id: row for account_id, *row in _rows(tx, _ACCOUNTS, account_ids)}
    latest = {account_id: row for account_id, *row in _rows(tx, _LATEST_STATEMENTS, account_ids)}
    owed = balances_cents(tx.connection, account_ids)
    fees = _fees_since_bill(tx, {account_id: row[3] for account_id, row in latest.items()})
    methods: dict[str, list[PaymentMethod]] = {}
    for account_id, method_id, type_, label, status, token in _rows(tx, _METHODS, account_ids):
        method = PaymentMethod(
            method_id=method_id,
            type=type_,
            label=label,
            status=status,
            sealed_token=tx.seal_token(account_id, method_id, token),
        )
        methods.setdefault(account_id, []).append(method)
    points: dict[str, list[ServicePoint]] = {}
    for account_id, *row in _rows(tx, _SERVICE_POINTS, account_ids):
        service_point_id, address, meter_id, tariff_name = row
        point = ServicePoint(
            service_point_id=service_point_id,
            meter_id=meter_id or "",
            address=address,
            tariff_name=tariff_name or "",
        )
        points.setdefault(account_id, []).append(point)
    for account_id in account_ids:
        if account_id not in accounts:
            raise UnknownAccount(account_id)
        customer_id, name, email, status, contact_email, contact_phone = accounts[account_id]
        statement_id, due_date, due_cents, _ = latest.get(account_id, (None, None, 0, None))
        body = AccountBody(
            account_id=account_id,
            customer_id=customer_id,
            customer_name=name,
            email=email,
            utility_name=tx.utility.name,
            currency=tx.utility.currency,
            timezone=tx.utility.timezone,
            status=status,
            balance_cents=owed.get(account_id, 0),
            billed_balance_cents=due_cents,
            latest_statement_id=statement_id,
            due_date=date.fromisoformat(due_date) if due_date else None,
            payment_methods=methods.get(account_id, []),
            service_points=points.get(account_id, []),
            contact_email=msgspec.UNSET if contact_email is None else contact_email,
            contact_phone=msgspec.UNSET if contact_phone is None else contact_phone,
            late_fees=fees.get(account_id, msgspec.UNSET),
        )
        tx.publish(account_id, ACCOUNT, "", body)


def _fees_since_bill(
    tx: Transaction, issued_on: Mapping[str, str]
) -> dict[str, list[FeeSinceBill]]:
    """Find the late fees that stand on no bill yet, and those of older bills that were taken back since, by account."""
    found: dict[str, list[FeeSinceBill]] = {}
    for step in read_steps(tx.connection, sorted(issued_on)) if issued_on else []:
        newest = date.fromisoformat(issued_on[step.account_id])
        taken_back = step.reversed_at and local_date(step.reversed_at, tx.utility.timezone)
        is_new, is_undone = step.as_of > newest, taken_back is not None and taken_back > newest
        # One that was charged and taken back since is nothing.
        if not step.fee or is_new == is_undone or (is_new and taken_back is not None):
            continue
        fee = FeeSinceBill(
            on=step.as_of if is_new or taken_back is None else taken_back,
            amount_cents=step.fee if is_new else -step.fee,
            statement_id=step.statement_id,
        )
        found.setdefault(step.account_id, []).append(fee)
    return found


def publish_statements(tx: Transaction, account_id: str) -> None:
    """
    Publish an account's statements: bodies of the newest retention months, a list of what is older.

    Retention counts back from the end of the newest statement's period, so it needs no clock and an account that is
    billed late loses nothing.
    """
    tx.hold_accounts([account_id])
    if tx.is_erased(account_id):
        return
    rows = tx.connection.execute(
        "SELECT statement_id, period_to, body FROM statements WHERE account_id = ? ORDER BY period_to DESC",
        (account_id,),
    ).fetchall()
    if not rows:
        return
    oldest_end = months_before(
        date.fromisoformat(rows[0][1]), tx.utility.edge_retention_months
    ).isoformat()
    archived: list[ArchivedStatement] = []
    for statement_id, period_to, body in rows:
        held = period_to > oldest_end
        tx.publish_encoded(account_id, STATEMENT, statement_id, body if held else None)
        if not held:
            archived.append(_archived(msgspec.json.decode(body, type=StatementBody)))
    if archived or tx.was_published(account_id, ARCHIVE, ARCHIVE_KEY):
        tx.publish(
            account_id,
            ARCHIVE,
            ARCHIVE_KEY,
            ArchiveBody(account_id=account_id, statements=archived),
        )


def publish_payment(tx: Transaction, payment_id: str, fingerprint: str) -> None:
    """Publish what was decided of a payment, under its `payment_key`; its body has the payment's id alone."""
    publish_payments(tx, [(payment_id, fingerprint)])


def publish_payments(tx: Transaction, pairs: Sequence[tuple[str, str]]) -> None:
    """Publish what was decided of payments, of different ids, as `publish_payment` does of each, in one statement."""
    wanted = set(pairs)
    for row in _rows(tx, _PAYMENTS, [payment_id for payment_id, _ in pairs]):
        if (row[0], row[2]) not in wanted:
            continue
        body = PaymentBody(
            payment_id=row[0],
            account_id=row[1],
            fingerprint=row[2],
            state=row[3],
            amount_cents=row[4],
            currency=row[5],
            method_id=row[6],
            method_label=row[7],
            accepted_at=from_text(row[8]),
            decided_at=from_text(row[9]),
            value_date=date.fromisoformat(row[10]) if row[10] else None,
            reason=row[11],
            case_number=row[12],
        )
        key = payment_key(body.payment_id, body.fingerprint, body.reason)
        tx.publish(body.account_id, PAYMENT, key, body)


def payment_key(payment_id: str, fingerprint: str, reason: str) -> str:
    """
    Tell the key of a payment's document.

    The payment that won its id stands under it. One that lost it (another edge took a different payment under the
    same key) has its fingerprint behind it.
    """
    return f"{payment_id}/{fingerprint[:16]}" if reason == "id_conflict" else payment_id


def publish_usage(tx: Transaction, service_point_id: str, month: str) -> None:
    """Publish a local month (``YYYY-MM``) of a service point's readings; a month without any is withdrawn."""
    connection = tx.connection
    (account_id,) = connection.execute(
        "SELECT account_id FROM service_points WHERE service_point_id = ?", (service_point_id,)
    ).fetchone()
    tx.hold_accounts([account_id])
    first = date.fromisoformat(f"{month}-01")
    after = (first + timedelta(days=32)).replace(day=1)
    days = [
        usage_day(
            date.fromisoformat(day),
            interval_seconds,
            values_wh,
            qualities,
            tx.utility.timezone,
        )
        for day, interval_seconds, values_wh, qualities in connection.execute(
            _BLOCKS, (service_point_id, first.isoformat(), after.isoformat())
        )
    ]
    body = UsageBody(
        account_id=account_id,
        service_point_id=service_point_id,
        month=month,
        timezone=tx.utility.timezone,
        days=days,
    )
    tx.publish(account_id, USAGE, f"{month}/{service_point_id}", body if days else None)


def publish_credential(tx: Transaction, customer_id: str) -> None:
    """
    Publish what an edge needs to check a customer's sign-in; withdrawn for a customer without accounts.

    The document belongs to the first of the customer's accounts. When the address or the first account changes, call
    `withdraw_credential` before the change.
    """
    tx.hold_customer(customer_id)
    row = _credential_row(tx.connection, customer_id)
    account_ids = _accounts_of(tx.connection, customer_id)
    email, verifier, version, status = row
    key = sign_in_key(tx.lookup_key, email)
    if not account_ids:
        return
    body = CredentialBody(
        customer_id=customer_id,
        account_ids=account_ids,
        verifier=verifier,
        credential_version=version,
        status=status,
    )
    tx.publish(account_ids[0], CREDENTIAL, key, body)


def withdraw_credential(tx: Transaction, customer_id: str) -> None:
    """Withdraw the published credential of a customer as it stands, before address or first account change."""
    tx.hold_customer(customer_id)
    account_ids = _accounts_of(tx.connection, customer_id)
    if account_ids:
        email = _credential_row(tx.connection, customer_id)[0]
        tx.publish(account_ids[0], CREDENTIAL, sign_in_key(tx.lookup_key, email), None)


def publish_everything_shown(tx: Transaction) -> None:
    """Publish every account and its statements again, after a setting that they show has changed."""
    for (account_id,) in tx.connection.execute(
        "SELECT account_id FROM accounts ORDER BY account_id"
    ).fetchall():
        publish_account(tx, account_id)
        publish_statements(tx, account_id)


def months_before(day: date, months: int) -> date:
    """Tell the date some months earlier, cut to the last day of a shorter month."""
    index = day.year * _MONTHS_A_YEAR + day.month - 1 - months
    year, month = divmod(index, _MONTHS_A_YEAR)
    first = date(year, month + 1, 1)
    last_day = ((first + timedelta(days=32)).replace(day=1) - timedelta(days=1)).day
    return first.replace(day=min(day.day, last_day))


def usage_day(
    day: date, interval_seconds: int, values_wh: bytes, qualities: bytes, timezone: str
) -> UsageDay:
    """
    Sum a stored day of readings into its hours.

    An hour is known when all its intervals are; it was measured when none of them was estimated. Intervals longer than
    an hour give no hours. A day is complete when every second of it is covered.
    """
    values = msgspec.msgpack.decode(values_wh, type=list[int | None])
    codes = msgspec.msgpack.decode(qualities, type=list[int | None])
    known = [value for value in values if value is not None]
    estimated_wh = sum(
        value
        for value, code in zip(values, codes, strict=True)
        if value is not None and code in ESTIMATED_QUALITIES
    )
    day_seconds = _day_seconds(day, timezone)
    whole = len(known) == len(values) and len(values) * interval_seconds >= day_seconds
    hours, estimated_hours = _hours(values, codes, interval_seconds, day_seconds)
    return UsageDay(
        day=day,
        usage_wh=sum(known),
        estimated_wh=estimated_wh,
        complete=whole,
        hours=hours,
        estimated_hours=estimated_hours,
    )


def _hours(
    values: list[int | None], codes: list[int | None], interval_seconds: int, day_seconds: int
) -> tuple[list[int | None], dict[int, int]]:
    """Sum intervals into the hours that were measured, in order, and those that were estimated, by number."""
    per_hour, rest = divmod(_HOUR_SECONDS, interval_seconds)
    measured: list[int | None] = []
    estimated: dict[int, int] = {}
    if rest or not per_hour:
        return measured, estimated
    for hour, first in enumerate(range(0, day_seconds // interval_seconds, per_hour)):
        part = slice(first, first + per_hour)
        known = [value for value in values[part] if value is not None]
        total = sum(known) if len(known) == per_hour else None
        if total is not None and not ESTIMATED_QUALITIES.isdisjoint(codes[part]):
            estimated[hour], total = total, None
        measured.append(total)
    return measured, estimated


def _day_seconds(day: date, timezone: str) -> int:
    zone = ZoneInfo(timezone)
    begin = datetime(day.year, day.month, day.day, tzinfo=zone)
    following = day + timedelta(days=1)
    end = datetime(following.year, following.month, following.day, tzinfo=zone)
    return int(end.timestamp() - begin.timestamp())


def _archived(body: StatementBody) -> ArchivedStatement:
    return ArchivedStatement(
        statement_id=body.statement_id,
        issued_on=body.issued_on,
        period_from=body.period_from,
        period_to=body.period_to,
        due_date=body.due_date,
        total_cents=body.total_cents,
        amount_due_cents=body.amount_due_cents,
    )


def _rows(tx: Transaction, sql: str, ids: Sequence[str]) -> list[Any]:
    return tx.connection.execute(sql.format(places(ids)), ids).fetchall()


def _credential_row(
    connection: Connection, customer_id: str
) -> tuple[str, str, int, Literal["active", "revoked"]]:
    row: tuple[str, str, int, Literal["active", "revoked"]] | None = connection.execute(
        "SELECT email, verifier, credential_version, status FROM customers WHERE customer_id = ?",
        (customer_id,),
    ).fetchone()
    assert row is not None, "the customer was written in this transaction"
    return row


def _accounts_of(connection: Connection, customer_id: str) -> list[str]:
    rows = connection.execute(
        "SELECT account_id FROM accounts WHERE customer_id = ? ORDER BY account_id", (customer_id,)
    )
    return [account_id for (account_id,) in rows]
