"""A customer file is checked as a whole: every error by line, column and rule, or its rows."""

from datetime import date

import pytest

from core_cis.errors import InvalidFile
from core_cis.importing.customer_file import CustomerRow, MethodCells, read_customer_file

HEADER = (
    "customer_id,name,email,account_id,service_point_id,address,meter_id,tariff,method_id,method_type,method_label,"
    "method_token,method_status,initial_register_kwh,supplied_from,supplied_to,password"
)
ROW = (
    "C-1,Ada Moreau,Ada@Example.org,A-1,SP-1,1 Mill Road,M-1,test-t,pm-1,card,Visa ending 4242,tok_1,unverified,"
    "12.5,2025-01-01,2026-01-01,correct horse"
)
TARIFFS = frozenset({"test-t"})


def read(*lines: str, header: str = HEADER) -> list[CustomerRow]:
    """Read a file of lines."""
    return read_customer_file("\n".join((header, *lines)).encode(), tariffs=TARIFFS)


def errors_of(data: bytes, tariffs: frozenset[str] = TARIFFS) -> list[tuple[int, str, str]]:
    """Read a file that is refused, and tell why."""
    with pytest.raises(InvalidFile) as caught:
        read_customer_file(data, tariffs=tariffs)
    assert str(caught.value).startswith("nothing was imported:\n")
    return [(error.line, error.column, error.rule) for error in caught.value.errors]


def row_with(column: str, value: str) -> str:
    """Make the good row with one other cell."""
    cells = dict(zip(HEADER.split(","), ROW.split(","), strict=True))
    return ",".join((cells | {column: value}).values())


def test_reads_every_column() -> None:
    """Texts are trimmed, kilowatt-hours become watt-hours, dates dates."""
    assert read(ROW) == [
        CustomerRow(
            line=2,
            customer_id="C-1",
            name="Ada Moreau",
            email="Ada@Example.org",
            account_id="A-1",
            service_point_id="SP-1",
            address="1 Mill Road",
            meter_id="M-1",
            tariff="test-t",
            method=MethodCells(
                method_id="pm-1",
                method_type="card",
                method_label="Visa ending 4242",
                method_token="tok_1",
                method_status="unverified",
            ),
            initial_register_wh=12_500,
            supplied_from=date(2025, 1, 1),
            supplied_to=date(2026, 1, 1),
            password="correct horse",
        )
    ]


def test_optional_columns_and_cells_may_be_left_out() -> None:
    """What is not said is None; a byte order mark, blank lines and Windows line ends do not matter."""
    header = HEADER.split(",method_status", maxsplit=1)[0]
    row = "C-1,Ada,a@b.org,A-1,SP-1,1 Mill Road,M-1,test-t,,,,"
    data = b"\xef\xbb\xbf" + f"{header}\r\n\r\n{row}\r\n".encode()
    (read_row,) = read_customer_file(data, tariffs=TARIFFS)
    assert (read_row.line, read_row.method, read_row.initial_register_wh) == (3, None, None)
    assert (read_row.supplied_from, read_row.supplied_to, read_row.password) == (None, None, None)


def test_a_quoted_cell_keeps_its_commas() -> None:
    """An address may hold a comma."""
    (row,) = read(row_with("address", '"1 Mill Road, Apt 2"'))
    assert row.address == "1 Mill Road, Apt 2"


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("customer_id", "", "must be 1 to 64 letters"),
        ("account_id", "A 1", "must be 1 to 64 letters"),
        ("meter_id", "x" * 65, "must be 1 to 64 letters"),
        ("name", "", "must be 1 to 200 characters"),
        ("address", "x" * 201, "must be 1 to 200 characters"),
        ("name", '"Ada\nMoreau"', "without line breaks"),
        ("email", "ada", "must be an e-mail address"),
        ("email", "a b@c.org", "must be an e-mail address"),
        ("tariff", "r-99", "must be a tariff that was imported (test-t); import another with"),
        ("method_type", "cash", "must be one of card, bank_account"),
        ("method_status", "old", "must be one of verified, unverified, expired"),
        ("method_token", "", "must not be empty beside the other method columns"),
        ("method_token", "4242424242424242", "must not hold a card or bank account number"),
        ("method_token", "000123456789", "must not hold a card or bank account number"),
        ("method_label", "Visa 4242 4242 4242 4242", "must not hold a card or bank"),
        ("method_id", "4242-4242-4242-4242", "must not hold a card or bank account number"),
        ("initial_register_kwh", "-1", "must be kilowatt-hours, not negative"),
        ("initial_register_kwh", "1.0001", "at most three decimals"),
        ("initial_register_kwh", "NaN", "must be kilowatt-hours"),
        ("initial_register_kwh", "1e99", "must be kilowatt-hours"),
        ("initial_register_kwh", "many", "must be kilowatt-hours"),
        ("supplied_from", "01/02/2025", "must be a date, YYYY-MM-DD"),
        ("supplied_to", "2025-02-30", "must be a date, YYYY-MM-DD"),
        ("supplied_to", "2025-01-01", "must be after supplied_from"),
        ("password", "short", "must have at least 8 characters"),
    ],
)
def test_names_line_column_and_rule(column: str, value: str, rule: str) -> None:
    """One bad cell, one error."""
    ((line, where, why),) = errors_of(f"{HEADER}\n{row_with(column, value)}\n".encode())
    assert (line, where) == (2, column)
    assert rule in why
    if "card or bank" in rule:
        assert value not in why


def test_tells_every_error_at_once() -> None:
    """A file is mended in one go, not error by error."""
    lines = [row_with("email", "ada"), "C-2,too,few", row_with("tariff", "nope")]
    found = errors_of("\n".join([HEADER, *lines]).encode())
    assert [(line, column) for line, column, _ in found] == [(2, "email"), (3, ""), (4, "tariff")]
    assert found[1][2] == "17 cells are expected, as in the header, not 3"


@pytest.mark.parametrize(
    ("data", "line", "rule"),
    [
        (b"", 1, "the file is empty; it needs a header"),
        (b"\n\n", 1, "the file is empty; it needs a header"),
        (HEADER.encode(), 1, "the file has a header but no rows"),
        (HEADER.replace("email", "mail").encode(), 1, "column email is missing"),
        (HEADER.replace("email", "mail").encode(), 1, "column mail is not known"),
        (f"{HEADER},email".encode(), 1, "column email stands twice"),
        (HEADER.replace(",", ";").encode(), 1, "the file must be comma separated"),
        (f"{HEADER}\n{ROW}".encode("utf-16"), 1, "the file must be UTF-8"),
        (f"{HEADER}\n{ROW.replace('Ada', 'Adé')}".encode("latin-1"), 2, "the file must be UTF-8"),
        (f'{HEADER}\n{ROW}\nC-2,"never closed'.encode(), 3, "not CSV: unexpected end of data"),
        (f'{HEADER}\n"C-1"x,{ROW}'.encode(), 2, "not CSV"),
    ],
)
def test_a_file_that_is_no_customer_file(data: bytes, line: int, rule: str) -> None:
    """What is wrong with the file as a whole is said once, with the columns that are known."""
    found = errors_of(data)
    assert any(where == line and rule in why for where, _, why in found), found
    if "column " in rule:
        assert any("known columns: customer_id, name" in why for _, _, why in found)


def test_no_tariff_yet_tells_what_to_do_first() -> None:
    """An empty core cannot know a tariff."""
    ((_, column, rule),) = errors_of(f"{HEADER}\n{ROW}".encode(), frozenset())
    assert (column, rule) == (
        "tariff",
        "no tariff is known yet; import one first: core import tariff FILE",
    )


@pytest.mark.parametrize(
    ("changed", "column", "key"),
    [
        ({"name": "Someone Else"}, "name", "customer_id"),
        ({"customer_id": "C-2"}, "customer_id", "email"),
        ({"email": "ada2@example.org"}, "email", "customer_id"),
        ({"address": "9 Other Road"}, "address", "service_point_id"),
        ({"meter_id": "M-9"}, "meter_id", "service_point_id"),
        ({"service_point_id": "SP-9"}, "service_point_id", "meter_id"),
        ({"method_token": "tok_9"}, "method_id", "method_id"),
        ({"password": "another password"}, "password", "customer_id"),
        ({"initial_register_kwh": "13"}, "initial_register_kwh", "meter_id"),
    ],
)
def test_rows_must_agree(changed: dict[str, str], column: str, key: str) -> None:
    """Rows that name the same thing say the same of it; the error names the first such row."""
    cells = dict(zip(HEADER.split(","), ROW.split(","), strict=True)) | changed
    found = errors_of("\n".join([HEADER, ROW, ",".join(cells.values())]).encode())
    assert (3, column, f"differs from line 2 for the same {key}") in found


def test_addresses_are_compared_without_case() -> None:
    """Two customers cannot share an e-mail address by writing it differently."""
    other = row_with("email", "ADA@example.ORG").replace("C-1,", "C-2,")
    found = errors_of(f"{HEADER}\n{ROW}\n{other}".encode())
    assert (3, "customer_id", "differs from line 2 for the same email") in found


def test_one_row_may_name_the_password_for_all() -> None:
    """Further rows of a customer leave it empty."""
    other = ROW.replace("SP-1", "SP-2").replace("M-1,", "M-2,").replace("correct horse", "")
    assert [row.password for row in read(ROW, other)] == ["correct horse", None]
