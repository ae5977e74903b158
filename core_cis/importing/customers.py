"""Customers from a checked file into the books, with the documents that edges need."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import msgspec

from cache_sync.documents import StatementBody
from cache_sync.sql import Connection
from core_cis.credentials import fits, initial_password, make_verifier
from core_cis.erasures import forgotten_at
from core_cis.errors import InvalidFile, LineError, UnknownCustomer
from core_cis.importing.customer_file import CustomerRow
from core_cis.publishing import (
    publish_account,
    publish_credential,
    withdraw_credential,
)
from core_cis.store import Transaction

# A service point is on its first tariff from its beginning, whenever that turns out to be.
_EARLIEST = date(1900, 1, 1)
_HASHING_THREADS = 2


class Passwords(msgspec.Struct, frozen=True, kw_only=True):
    """
    What customers of a file will sign in with.

    ``verifiers`` are those to be written, by customer id; ``initial`` are (e-mail, password) of customers that are new
    and came without one.
    """

    verifiers: dict[str, str]
    initial: list[tuple[str, str]]


class CustomersImported(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did: what the file names, and how many of its customers are new."""

    customers: int
    new_customers: int
    accounts: int
    service_points: int
    payment_methods: int


def prepare_passwords(
    connection: Connection,
    rows: Sequence[CustomerRow],
    *,
    new_password: Callable[[], str] = initial_password,
    progress: Callable[[], None] = lambda: None,
) -> Passwords:
    """
    Make the verifiers that an import will write.

    A verifier takes some 26 ms of a processor by design: they are made before the import holds the only write lock,
    so that a running core goes on posting payments. A customer who is known keeps his password unless the file names
    another.

    Args:
        rows: Of the file.
        new_password: Makes initial ones.
        progress: Called for each customer.
    """
    named = {row.customer_id: row.password for row in rows if row.password is not None}
    wanted: dict[str, str] = {}
    initial: list[tuple[str, str]] = []
    for row in {row.customer_id: row for row in rows}.values():
        password = named.get(row.customer_id)
        known = connection.execute(
            "SELECT verifier FROM customers WHERE customer_id = ?", (row.customer_id,)
        ).fetchone()
        if known is None and password is None:
            password = new_password()
            initial.append((row.email, password))
        if password is not None and not (known and fits(known[0], password)):
            wanted[row.customer_id] = password
        else:
            progress()
    verifiers: dict[str, str] = {}
    with ThreadPoolExecutor(_HASHING_THREADS) as pool:
        made = pool.map(make_verifier, wanted.values())
        for customer_id, verifier in zip(wanted, made, strict=True):
            verifiers[customer_id] = verifier
            progress()
    return Passwords(verifiers=verifiers, initial=initial)


def import_customers(
    tx: Transaction, rows: Sequence[CustomerRow], passwords: Passwords
) -> CustomersImported:
    """
    Write checked rows and publish what changed; the same file again changes nothing and publishes nothing.

    Raises:
        InvalidFile: A row would move a known account, service point, meter or method to another owner, take an e-mail
            address that is in use, exchange a meter, change what bills were already made with, or bring back a customer
            who was forgotten.
    """
    conflicts = [error for row in rows for error in _conflicts(tx, row)]
    if conflicts:
        raise InvalidFile(conflicts)
    by_customer = {row.customer_id: row for row in rows}
    accounts_of: dict[str, set[str]] = {}
    for row in rows:
        accounts_of.setdefault(row.customer_id, set()).add(row.account_id)
    new_customers = 0
    for customer_id, row in by_customer.items():
        _withdraw_outdated(tx, row, accounts_of[customer_id])
        new_customers += _write_customer(tx, row, passwords.verifiers.get(customer_id))
    for row in rows:
        _write_supply(tx, row)
        _write_method(tx, row)
    accounts = {row.account_id for row in rows}
    for account_id in sorted(accounts):
        publish_account(tx, account_id)
    for customer_id in by_customer:
        publish_credential(tx, customer_id)
    return CustomersImported(
        customers=len(by_customer),
        new_customers=new_customers,
        accounts=len(accounts),
        service_points=len({row.service_point_id for row in rows}),
        payment_methods=len({row.method_id for row in rows if row.method_id}),
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
_SUPPLY = """
    SELECT s.supplied_from, m.meter_id, m.initial_register_wh FROM service_points s
    JOIN meters m USING (service_point_id) WHERE s.service_point_id = ? AND m.removed_on IS NULL
"""
_STATEMENTS = """
    SELECT s.body FROM service_points p JOIN statements s USING (account_id)
    WHERE p.service_point_id = ? ORDER BY s.period_to DESC
"""


def _conflicts(tx: Transaction, row: CustomerRow) -> list[LineError]:
    execute = tx.connection.execute
    if forgotten_at(tx.connection, row.customer_id) is not None:
        rule = (
            "was forgotten: take the customer out of the file; somebody new needs an id of his own"
        )
        return [LineError(row.line, "customer_id", rule)]
    errors = []
    for column, query, owner in _OWNERS:
        found = execute(query, (getattr(row, column),)).fetchone()
        if found is not None and found[0] != getattr(row, owner):
            rule = f"is already in the books under {owner} {found[0]}, and cannot move to another"
            errors.append(LineError(row.line, column, rule))
    holder = execute(
        "SELECT customer_id FROM customers WHERE email_key = ?", (row.email_key,)
    ).fetchone()
    if holder is not None and holder[0] != row.customer_id:
        rule = f"is in use by customer {holder[0]}; every customer needs an address of his own"
        errors.append(LineError(row.line, "email", rule))
    return errors or _supply_conflicts(tx, row)


def _supply_conflicts(tx: Transaction, row: CustomerRow) -> list[LineError]:
    execute = tx.connection.execute
    known = execute(_SUPPLY, (row.service_point_id,)).fetchone()
    if known is None:
        return []
    supplied_from, meter_id, register_wh = known
    errors = []
    if meter_id != row.meter_id:
        rule = f"service point {row.service_point_id} has meter {meter_id}; a meter exchange cannot be imported"
        errors.append(LineError(row.line, "meter_id", rule))
    billed_to = _billed_to(tx.connection, row.service_point_id)
    if billed_to is None:
        return errors
    if row.supplied_from is not None and row.supplied_from.isoformat() != supplied_from:
        rule = "cannot change any more: bills were made from the day that is in the books"
        errors.append(LineError(row.line, "supplied_from", rule))
    if row.initial_register_wh not in {None, register_wh}:
        rule = "cannot change any more: bills were made from the register that is in the books"
        errors.append(LineError(row.line, "initial_register_kwh", rule))
    if row.supplied_to is not None and row.supplied_to.isoformat() < billed_to:
        rule = f"must not be before {billed_to}: days up to then were billed"
        errors.append(LineError(row.line, "supplied_to", rule))
    return errors


def _billed_to(connection: Connection, service_point_id: str) -> str | None:
    """Tell the first day of a service point that was not billed; None before its first bill."""
    for (body,) in connection.execute(_STATEMENTS, (service_point_id,)).fetchall():
        for read in msgspec.json.decode(body, type=StatementBody).meters:
            if read.service_point_id == service_point_id:
                return read.read_to.isoformat()
    return None


def _withdraw_outdated(tx: Transaction, row: CustomerRow, accounts: set[str]) -> None:
    """Withdraw a credential that will stand under another key or account than before."""
    execute = tx.connection.execute
    known = execute(
        "SELECT c.email, (SELECT min(account_id) FROM accounts a WHERE a.customer_id = c.customer_id)"
        " FROM customers c WHERE c.customer_id = ?",
        (row.customer_id,),
    ).fetchone()
    if known is None:
        return
    email, first_account = known
    if email.casefold() != row.email_key or (first_account and min(accounts) < first_account):
        withdraw_credential(tx, row.customer_id)


def _write_customer(tx: Transaction, row: CustomerRow, verifier: str | None) -> bool:
    """Write a customer; tell whether he is new."""
    execute = tx.connection.execute
    known = execute("SELECT 1 FROM customers WHERE customer_id = ?", (row.customer_id,)).fetchone()
    if known is None:
        assert verifier is not None, "a new customer's verifier was prepared"
        execute(
            "INSERT INTO customers (customer_id, name, email, email_key, verifier) VALUES (?, ?, ?, ?, ?)",
            (row.customer_id, row.name, row.email, row.email_key, verifier),
        )
        return True
    execute(
        "UPDATE customers SET name = ?, email = ?, email_key = ? WHERE customer_id = ?",
        (row.name, row.email, row.email_key, row.customer_id),
    )
    if verifier is not None:
        _write_verifier(tx, row.customer_id, verifier)
    return False


def set_password(tx: Transaction, email: str, verifier: str) -> str:
    """
    Give a customer a new verifier; return his id. What he signed in with before ends as edges learn of it.

    Raises:
        UnknownCustomer: Nobody has the e-mail address.
    """
    found = tx.connection.execute(
        "SELECT customer_id FROM customers WHERE email_key = ?", (email.strip().casefold(),)
    ).fetchone()
    if found is None:
        raise UnknownCustomer(email)
    customer_id = str(found[0])
    _write_verifier(tx, customer_id, verifier)
    publish_credential(tx, customer_id)
    return customer_id


def _write_verifier(tx: Transaction, customer_id: str, verifier: str) -> None:
    tx.connection.execute(
        "UPDATE customers SET verifier = ?, credential_version = credential_version + 1 WHERE customer_id = ?",
        (verifier, customer_id),
    )


def _write_supply(tx: Transaction, row: CustomerRow) -> None:
    """Write account, service point, meter and tariff; an empty optional cell keeps what is known."""
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
        " supplied_from = coalesce(excluded.supplied_from, service_points.supplied_from),"
        " supplied_to = coalesce(excluded.supplied_to, service_points.supplied_to)",
        (row.service_point_id, row.account_id, row.address, since, until),
    )
    execute(
        "INSERT INTO meters (meter_id, service_point_id, installed_on, initial_register_wh)"
        " VALUES (?, ?, ?, coalesce(?, 0)) ON CONFLICT (meter_id) DO UPDATE"
        " SET initial_register_wh = coalesce(?, meters.initial_register_wh)",
        (
            row.meter_id,
            row.service_point_id,
            since,
            row.initial_register_wh,
            row.initial_register_wh,
        ),
    )
    current = execute(
        "SELECT tariff_code FROM service_point_tariffs WHERE service_point_id = ?"
        " ORDER BY effective_from DESC LIMIT 1",
        (row.service_point_id,),
    ).fetchone()
    if current is None or current[0] != row.tariff:
        assigned = tx.today if current else _EARLIEST
        execute(
            "INSERT INTO service_point_tariffs (service_point_id, effective_from, tariff_code) VALUES (?, ?, ?)"
            " ON CONFLICT (service_point_id, effective_from) DO UPDATE SET tariff_code = excluded.tariff_code",
            (row.service_point_id, assigned.isoformat(), row.tariff),
        )


def _write_method(tx: Transaction, row: CustomerRow) -> None:
    method = row.method
    if method is None:
        return
    tx.connection.execute(
        "INSERT INTO payment_methods (method_id, account_id, token, type, label, status)"
        " VALUES (?, ?, ?, ?, ?, coalesce(?, 'verified'))"
        " ON CONFLICT (method_id) DO UPDATE SET token = excluded.token, type = excluded.type,"
        " label = excluded.label, status = coalesce(?, payment_methods.status)",
        (
            method.method_id,
            row.account_id,
            method.method_token,
            method.method_type,
            method.method_label,
            method.method_status,
            method.method_status,
        ),
    )
