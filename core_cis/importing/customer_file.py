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
from core_cis.importing.numbers import holds_a_number, is_only_a_number

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
_EMAIL = re.compile(r"[^@\s,;\"]+@[^@\s,;\"]+\.[^@\s,;\"]+\Z")
_EMAIL_MAX = 254
_TEXT_MAX = 200
_TARIFFS_SHOWN = 20
_REGISTER_WH_MAX = 10**15


_NO_NUMBERS: Final = ("method_label", "method_token")
_METHOD_COLUMNS: Final = ("method_id", "method_type", "method_label", "method_token")
# What a row calls otherwise than the file does.
_COLUMNS: Final = {"initial_register_wh": "initial_register_kwh", "method": "method_id"}


class MethodCells(msgspec.Struct, frozen=True, kw_only=True):
    """A row's saved payment method; the token is what the payment processor knows it by."""

    method_id: str
    method_type: str
    method_label: str
    method_token: str
    method_status: str | None


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
    method: MethodCells | None
    initial_register_wh: int | None
    supplied_from: date | None
    supplied_to: date | None
    password: str | None

    @property
    def email_key(self) -> str:
        """The address as it is compared."""
        return self.email.casefold()

    @property
    def method_id(self) -> str | None:
        """The method's id, None in a row without one."""
        return self.method.method_id if self.method else None


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
    for line, cells in _records(data, errors):
        row = _row(line, cells, tariffs, errors)
        if row is not None:
            rows.append(row)
    if not rows and not errors:
        errors.append(LineError(1, "", "the file has a header but no rows"))
    errors += _contradictions(rows)
    if errors:
        raise InvalidFile(sorted(errors, key=lambda error: (error.line, error.column)))
    return rows


def _records(data: bytes, errors: list[LineError]) -> Iterator[tuple[int, dict[str, str]]]:
    """Give each row with its line; a row that is no row is an error, a header that is none ends it all."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InvalidFile(
            [LineError(line, "", "the file must be UTF-8; save it as that")]
        ) from error
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    header: list[str] = []
    line = 1
    try:
        for cells in reader:
            # A quoted cell may hold line breaks: a row is named by the line it starts on.
            start, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = _header(start, [cell.strip() for cell in cells])
            elif len(cells) != len(header):
                rule = f"{len(header)} cells are expected, as in the header, not {len(cells)}"
                errors.append(LineError(start, "", rule))
            else:
                yield start, {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    except csv.Error as error:
        errors.append(LineError(line, "", f"not CSV: {error}"))
    if not header and not errors:
        raise InvalidFile([LineError(1, "", "the file is empty; it needs a header")])


def _header(line: int, names: list[str]) -> list[str]:
    known = (*REQUIRED, *OPTIONAL)
    problems = [
        *(f"column {name} is missing" for name in REQUIRED if name not in names),
        *(f"column {name or '(empty)'} is not known" for name in names if name not in known),
        *(f"column {name} stands twice" for name in sorted({*names}) if names.count(name) > 1),
    ]
    if problems and len(names) == 1:
        problems = ["the file must be comma separated and start with a header"]
    if problems:
        listed = f"known columns: {', '.join(known)}; the last {len(OPTIONAL)} may be left out"
        raise InvalidFile([LineError(line, "", problem) for problem in (*problems, listed)])
    return names


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
    text_rule = f"must be 1 to {_TEXT_MAX} characters, without line breaks"
    ids = {
        column: check(column, id_rule, _ID.match)
        for column in ("customer_id", "account_id", "service_point_id", "meter_id")
    }
    texts = {column: check(column, text_rule, _is_text) for column in ("name", "address")}
    row = CustomerRow(
        line=line,
        customer_id=ids["customer_id"],
        account_id=ids["account_id"],
        service_point_id=ids["service_point_id"],
        meter_id=ids["meter_id"],
        name=texts["name"],
        address=texts["address"],
        email=check("email", "must be an e-mail address", _is_email),
        tariff=check("tariff", _tariff_rule(tariffs), tariffs.__contains__),
        method=_method(cells, line, errors),
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


def _is_text(value: str) -> bool:
    return 0 < len(value) <= _TEXT_MAX and value.isprintable()


def _is_email(value: str) -> bool:
    return len(value) <= _EMAIL_MAX and value.isprintable() and _EMAIL.match(value) is not None


def _tariff_rule(tariffs: frozenset[str]) -> str:
    if not tariffs:
        return "no tariff is known yet; import one first: core import tariff FILE"
    shown = sorted(tariffs)[:_TARIFFS_SHOWN]
    more = f" and {len(tariffs) - len(shown)} more" if len(tariffs) > len(shown) else ""
    return (
        f"must be a tariff that was imported ({', '.join(shown)}{more});"
        " import another with: core import tariff FILE"
    )


def _method(cells: dict[str, str], line: int, errors: list[LineError]) -> MethodCells | None:
    values = {column: cells.get(column, "") for column in _METHOD_COLUMNS}
    status = cells.get("method_status", "")
    if not any(values.values()):
        return None
    before = len(errors)
    for column, value in values.items():
        if not value:
            rule = "must not be empty beside the other method columns"
        elif holds_a_number(value) or (column in _NO_NUMBERS and is_only_a_number(value)):
            # The rule does not repeat the number: errors are shown and kept.
            rule = (
                "must not hold a card or bank account number: these never enter the system;"
                " give the payment processor's token, and a label such as: Visa ending 4242"
            )
        elif not _is_text(value):
            rule = f"must be 1 to {_TEXT_MAX} characters, without line breaks"
        elif column == "method_id" and not _ID.match(value):
            rule = "must be 1 to 64 letters, digits, dots, underscores or hyphens"
        else:
            continue
        errors.append(LineError(line, column, rule))
    for column, value, allowed in (
        ("method_type", values["method_type"], METHOD_TYPES),
        ("method_status", status, METHOD_STATUSES),
    ):
        if value and value not in allowed:
            errors.append(LineError(line, column, f"must be one of {', '.join(allowed)}"))
    if len(errors) > before:
        return None
    return MethodCells(**values, method_status=status or None)


def _register(cells: dict[str, str], line: int, errors: list[LineError]) -> int | None:
    text = cells.get("initial_register_kwh", "")
    if not text:
        return None
    try:
        value = Decimal(text) * 1000
    except InvalidOperation:
        value = Decimal(-1)
    if value.is_nan():
        value = Decimal(-1)
    if not 0 <= value <= _REGISTER_WH_MAX or value != value.to_integral_value():
        rule = "must be kilowatt-hours, not negative, with at most three decimals"
        errors.append(LineError(line, "initial_register_kwh", rule))
        return None
    return int(value)


# What must be said the same way in every row that names the same thing, and what may belong to one owner only.
_SAME: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("customer_id", ("name", "email")),
    ("email_key", ("customer_id",)),
    ("account_id", ("customer_id",)),
    (
        "service_point_id",
        ("account_id", "address", "tariff", "meter_id", "supplied_from", "supplied_to"),
    ),
    ("meter_id", ("service_point_id", "initial_register_wh")),
    ("method_id", ("account_id", "method")),
)


def _contradictions(rows: list[CustomerRow]) -> list[LineError]:
    errors = []
    for key, columns in _SAME:
        name = "email" if key == "email_key" else key
        first: dict[str, CustomerRow] = {}
        for row in rows:
            value = getattr(row, key)
            if value is None:
                continue
            known = first.setdefault(value, row)
            errors += [
                LineError(
                    row.line,
                    _COLUMNS.get(column, column),
                    f"differs from line {known.line} for the same {name}",
                )
                for column in columns
                if getattr(row, column) != getattr(known, column)
            ]
    passwords: dict[str, CustomerRow] = {}
    for row in rows:
        # One row of a customer may name the password for all.
        if row.password is not None:
            known = passwords.setdefault(row.customer_id, row)
            if known.password != row.password:
                rule = f"differs from line {known.line} for the same customer_id"
                errors.append(LineError(row.line, "password", rule))
    return errors
