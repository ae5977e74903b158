"""Customers from a checked file into the books, with the documents that edges need."""

from collections.abc import Callable, Sequence
from datetime import date

import msgspec

from core_cis.credentials import initial_password, make_verifier
from core_cis.errors import InvalidFile, LineError
from core_cis.importing.customer_file import CustomerRow
from core_cis.publishing import (
    publish_account,
    publish_credential,
    withdraw_credential,
)
from core_cis.store import Transaction

_EARLIEST = date(1900, 1, 1)


class CustomersImported(msgspec.Struct, frozen=True, kw_only=True):
    """
    What an import did.

    ``initial_passwords`` are (e-mail, password) of customers that are new and came without one.
    """

    customers: int
    accounts: int
    service_points: int
    payment_methods: int
    initial_passwords: list[tuple[str, str]]


def import_customers(
    tx: Transaction,
    rows: Sequence[CustomerRow],
    *,
    new_password: Callable[[], str] = initial_password,
) -> CustomersImported:
    """
    Write checked rows and publish what changed; the same file again changes nothing.

    A customer who is known keeps his password unless the file names one.

    Raises:
        InvalidFile: A row would move a known account, service point, meter or method to another owner, or take an
            e-mail address that is in use.
    """
    conflicts = [error for row in rows for error in _conflicts(tx, row)]
    if conflicts:
        raise InvalidFile(conflicts)
    passwords: list[tuple[str, str]] = []
    by_customer = {row.customer_id: row for row in rows}
    for row in by_customer.values():
        _write_customer(tx, row, new_password, passwords)
    for row in rows:
        _write_supply(tx, row)
        _write_method(tx, row)
    accounts = sorted({row.account_id for row in rows})
    for account_id in accounts:
        publish_account(tx, account_id)
    for customer_id in by_customer:
        publish_credential(tx, customer_id)
    return CustomersImported(
        customers=len(by_customer),
        accounts=len(accounts),
        service_points=len({row.service_point_id for row in rows}),
        payment_methods=len({row.method_id for row in rows if row.method_id}),
        initial_passwords=passwords,
    )


# Column, where its owner stands in the books, and the row's column that must name the same owner.
_OWNERS = (
    ("account_id", "SELECT customer_id FROM accounts WHERE account_id = ?", "customer_id"),
    (
        "service_point_id",
        "SELECT account_id FROM service_points WHERE service_point_id = ?",
        "account_id",
    ),
    ("meter_id", "SELECT service_point_id FROM meters WHERE meter_id = ?", "service_point_id"),
    ("method_id", "SELECT account_id FROM payment_methods WHERE method_id = ?", "account_id"),
)


def _conflicts(tx: Transaction, row: CustomerRow) -> list[LineError]:
    errors = []
    for column, query, owner in _OWNERS:
        found = tx.connection.execute(query, (getattr(row, column),)).fetchone()
        if found is not None and found[0] != getattr(row, owner):
            rule = f"is already in the books under {owner} {found[0]}"
            errors.append(LineError(row.line, column, rule))
    holder = tx.connection.execute(
        "SELECT customer_id FROM customers WHERE email_key = ?", (row.email.casefold(),)
    ).fetchone()
    if holder is not None and holder[0] != row.customer_id:
        errors.append(LineError(row.line, "email", f"is in use by customer {holder[0]}"))
    return errors


def _write_customer(
    tx: Transaction,
    row: CustomerRow,
    new_password: Callable[[], str],
    passwords: list[tuple[str, str]],
) -> None:
    execute = tx.connection.execute
    known = execute("SELECT 1 FROM customers WHERE customer_id = ?", (row.customer_id,)).fetchone()
    if known is None:
        password = row.password
        if password is None:
            password = new_password()
            passwords.append((row.email, password))
        execute(
            "INSERT INTO customers (customer_id, name, email, email_key, verifier) VALUES (?, ?, ?, ?, ?)",
            (row.customer_id, row.name, row.email, row.email.casefold(), make_verifier(password)),
        )
        return
    # Address or first account may change: what stands under the old key goes first.
    withdraw_credential(tx, row.customer_id)
    execute(
        "UPDATE customers SET name = ?, email = ?, email_key = ? WHERE customer_id = ?",
        (row.name, row.email, row.email.casefold(), row.customer_id),
    )
    if row.password is not None:
        set_password(tx, row.customer_id, row.password)


def set_password(tx: Transaction, customer_id: str, password: str) -> None:
    """Give a customer a new password; every sign-in made with the old one ends when edges learn of it."""
    tx.connection.execute(
        "UPDATE customers SET verifier = ?, credential_version = credential_version + 1 WHERE customer_id = ?",
        (make_verifier(password), customer_id),
    )
    publish_credential(tx, customer_id)


def _write_supply(tx: Transaction, row: CustomerRow) -> None:
    execute = tx.connection.execute
    since = row.supplied_from.isoformat() if row.supplied_from else None
    until = row.supplied_to.isoformat() if row.supplied_to else None
    execute(
        "INSERT INTO accounts (account_id, customer_id, opened_on) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (row.account_id, row.customer_id, since),
    )
    execute(
        "INSERT INTO service_points (service_point_id, account_id, address, supplied_from, supplied_to)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT (service_point_id) DO UPDATE SET address = excluded.address,"
        " supplied_from = excluded.supplied_from, supplied_to = excluded.supplied_to",
        (row.service_point_id, row.account_id, row.address, since, until),
    )
    execute(
        "INSERT INTO meters (meter_id, service_point_id, installed_on, initial_register_wh) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        (row.meter_id, row.service_point_id, since, row.initial_register_wh),
    )
    current = execute(
        "SELECT tariff_code FROM service_point_tariffs WHERE service_point_id = ?"
        " ORDER BY effective_from DESC LIMIT 1",
        (row.service_point_id,),
    ).fetchone()
    if current is None or current[0] != row.tariff:
        # A new service point is on its tariff from its beginning, a changed tariff prices from today.
        assigned = tx.today if current else row.supplied_from or _EARLIEST
        execute(
            "INSERT INTO service_point_tariffs (service_point_id, effective_from, tariff_code) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET tariff_code = excluded.tariff_code",
            (row.service_point_id, assigned.isoformat(), row.tariff),
        )


def _write_method(tx: Transaction, row: CustomerRow) -> None:
    if row.method_id is None:
        return
    tx.connection.execute(
        "INSERT INTO payment_methods (method_id, account_id, token, type, label, status) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (method_id) DO UPDATE SET token = excluded.token, type = excluded.type,"
        " label = excluded.label, status = excluded.status",
        (
            row.method_id,
            row.account_id,
            row.method_token,
            row.method_type,
            row.method_label,
            row.method_status,
        ),
    )
