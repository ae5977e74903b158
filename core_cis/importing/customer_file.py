"""
The customer file: a CSV that names customers, accounts, service points, meters, tariffs and payment methods.

One row says one service point of one account and at most one saved payment method; further rows of the same account
add service points or methods. The whole file is checked before anything is written, and refused as a whole with every
error by line and column: half a customer base is worse than none.
"""

import csv
import re
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal, InvalidOperation
from io import StringIO
from typing import Final

import msgspec

from core_cis.credentials import PASSWORD_LENGTH_MIN
from core_cis.errors import InvalidFile, LineError

FILE_BYTES_MAX: Final = 200_000_000
REQUIRED: Final = (
    "customer_id",
    "name",
    "email",
    "account_id",
    "service_point_id",
    "address",
    "meter_id",
    "tariff",
    "method_id",
    "method_type",
    "method_label",
    "method_token",
)
OPTIONAL: Final = (
    "method_status",
    "initial_register_kwh",
    "supplied_from",
    "supplied_to",
    "password",
)
METHOD_TYPES: Final = ("card", "bank_account")
METHOD_STATUSES: Final = ("verified", "unverified", "expired")

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")
# Thirteen to nineteen digits, perhaps in groups: a card number must never enter the system.
_CARD_NUMBER = re.compile(r"(?:\d[ -]?){13,19}\Z")
_TEXT_MAX = 200


class CustomerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A checked row; texts are trimmed, what was left out is None."""

    line: int
    customer_id: str
    name: str
    email: str
    account_id: str
    service_point_id: str
    address: str
    meter_id: str
    tariff: str
    method_id: str | None
    method_type: str | None
    method_label: str | None
    method_token: str | None
    method_status: str
    initial_register_wh: int
    supplied_from: date | None
    supplied_to: date | None
    password: str | None


def read_customer_file(data: bytes, *, tariffs: frozenset[str]) -> list[CustomerRow]:
    """
    Check a whole customer file.

    Args:
        data: The CSV, UTF-8, comma separated, with a header.
        tariffs: The keys of the tariffs that the core has.

    Raises:
        InvalidFile: With every error found, by line and column.
    """
    errors: list[LineError] = []
    rows: list[CustomerRow] = []
    for line, cells in _records(data):
        row = _row(line, cells, tariffs, errors)
        if row is not None:
            rows.append(row)
    if not rows and not errors:
        errors.append(LineError(1, "", "the file has a header but no rows"))
    errors += _contradictions(rows)
    if errors:
        raise InvalidFile(sorted(errors, key=lambda error: (error.line, error.column)))
    return rows


def _records(data: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InvalidFile([LineError(line, "", "the file must be UTF-8")]) from error
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    header: list[str] = []
    try:
        for cells in reader:
            if not header:
                header = _header([cell.strip() for cell in cells])
            elif any(cell.strip() for cell in cells):
                yield reader.line_num, _cells(header, cells, reader.line_num)
    except csv.Error as error:
        raise InvalidFile([LineError(reader.line_num, "", f"not CSV: {error}")]) from error
    if not header:
        raise InvalidFile([LineError(1, "", "the file is empty; it needs a header")])


def _header(names: list[str]) -> list[str]:
    known = (*REQUIRED, *OPTIONAL)
    problems = [
        *(f"column {name} is missing" for name in REQUIRED if name not in names),
        *(f"column {name or '(empty)'} is not known" for name in names if name not in known),
        *(f"column {name} stands twice" for name in set(names) if names.count(name) > 1),
    ]
    if problems:
        listed = f"known columns: {', '.join(known)}; the last {len(OPTIONAL)} may be left out"
        raise InvalidFile([LineError(1, "", problem) for problem in (*problems, listed)])
    return names


def _cells(header: list[str], cells: list[str], line: int) -> dict[str, str]:
    if len(cells) != len(header):
        rule = f"{len(header)} cells are expected, not {len(cells)}"
        raise InvalidFile([LineError(line, "", rule)])
    return {name: cell.strip() for name, cell in zip(header, cells, strict=True)}


def _row(
    line: int, cells: dict[str, str], tariffs: frozenset[str], errors: list[LineError]
) -> CustomerRow | None:
    before = len(errors)

    def check(column: str, rule: str, test: Callable[[str], object]) -> str:
        value = cells.get(column, "")
        if not test(value):
            errors.append(LineError(line, column, rule))
        return value

    def optional_date(column: str) -> date | None:
        value = cells.get(column, "")
        try:
            return date.fromisoformat(value) if value else None
        except ValueError:
            errors.append(LineError(line, column, "must be a date, YYYY-MM-DD"))
            return None

    id_rule = "must be 1 to 64 letters, digits, dots, underscores or hyphens"
    text_rule = f"must be 1 to {_TEXT_MAX} characters"
    ids = {
        column: check(column, id_rule, _ID.match)
        for column in ("customer_id", "account_id", "service_point_id", "meter_id")
    }
    texts = {
        column: check(column, text_rule, lambda value: 0 < len(value) <= _TEXT_MAX)
        for column in ("name", "address")
    }
    row = CustomerRow(
        line=line,
        **ids,
        **texts,
        email=check("email", "must be an e-mail address", _EMAIL.match),
        tariff=check("tariff", _tariff_rule(tariffs), tariffs.__contains__),
        **_method(cells, line, errors),
        initial_register_wh=_register(cells, line, errors),
        supplied_from=optional_date("supplied_from"),
        supplied_to=optional_date("supplied_to"),
        password=check(
            "password",
            f"must have at least {PASSWORD_LENGTH_MIN} characters, or be empty",
            lambda value: not value or len(value) >= PASSWORD_LENGTH_MIN,
        )
        or None,
    )
    if row.supplied_from and row.supplied_to and row.supplied_to <= row.supplied_from:
        errors.append(LineError(line, "supplied_to", "must be after supplied_from"))
    return row if len(errors) == before else None


def _tariff_rule(tariffs: frozenset[str]) -> str:
    if not tariffs:
        return "no tariff is known yet; import one first: core import tariff FILE"
    return f"must be a tariff that was imported: {', '.join(sorted(tariffs)[:20])}"


def _method(cells: dict[str, str], line: int, errors: list[LineError]) -> dict[str, str | None]:
    columns = ("method_id", "method_type", "method_label", "method_token")
    values = {column: cells.get(column, "") for column in columns}
    status = cells.get("method_status", "") or "verified"
    if not any(values.values()):
        return {**dict.fromkeys(columns), "method_status": status}
    for column, value in values.items():
        if not value:
            errors.append(
                LineError(line, column, "must not be empty beside the other method columns")
            )
        elif _CARD_NUMBER.match(value):
            rule = "must be the payment processor's token: card and bank numbers never enter the system"
            errors.append(LineError(line, column, rule))
    if values["method_id"] and not _ID.match(values["method_id"]):
        errors.append(LineError(line, "method_id", "must be 1 to 64 letters, digits, . _ or -"))
    for column, value, allowed in (
        ("method_type", values["method_type"], METHOD_TYPES),
        ("method_status", status, METHOD_STATUSES),
    ):
        if value and value not in allowed:
            errors.append(LineError(line, column, f"must be one of {', '.join(allowed)}"))
    return {**values, "method_status": status}


def _register(cells: dict[str, str], line: int, errors: list[LineError]) -> int:
    text = cells.get("initial_register_kwh", "") or "0"
    try:
        value = Decimal(text) * 1000
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or value < 0 or value != value.to_integral_value():
        rule = "must be kilowatt-hours, not negative, with at most three decimals"
        errors.append(LineError(line, "initial_register_kwh", rule))
        return 0
    return int(value)


# What must be said the same way in every row that names the same thing, and what may belong to one owner only.
_SAME: Final = (
    ("customer_id", ("name", "email")),
    ("email", ("customer_id",)),
    ("account_id", ("customer_id",)),
    (
        "service_point_id",
        ("account_id", "address", "tariff", "meter_id", "supplied_from", "supplied_to"),
    ),
    ("meter_id", ("service_point_id", "initial_register_wh")),
    ("method_id", ("account_id", "method_type", "method_label", "method_token", "method_status")),
)


def _contradictions(rows: list[CustomerRow]) -> list[LineError]:
    errors = []
    for key, columns in _SAME:
        first: dict[str, CustomerRow] = {}
        for row in rows:
            value = getattr(row, key)
            if value is None:
                continue
            known = first.setdefault(value.casefold() if key == "email" else value, row)
            errors += [
                LineError(row.line, column, f"differs from line {known.line} for the same {key}")
                for column in columns
                if getattr(row, column) != getattr(known, column)
            ]
    return errors
