"""A utility's own files come in whole or not at all; the same files again change and publish nothing."""

import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cache_sync.documents import sign_in_key
from core_cis.__main__ import main
from core_cis.credentials import fits
from core_cis.errors import InvalidFile, TariffConflict, UnknownCustomer
from core_cis.importing.customers import set_password
from core_cis.settings import Utility
from core_cis.store import change_utility
from tests.integration.utility import (
    PASSWORD,
    TARIFF,
    SmallUtility,
    customer_csv,
    customer_row,
    tariff_json,
)

Run = Callable[..., Result]

GREEN_BUTTON = """<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:espi="http://naesb.org/espi">
<entry><link rel="self" href="/MeterReading/1"/><link rel="related" href="/ReadingType/1"/>
<content><espi:MeterReading/></content></entry>
<entry><link rel="self" href="/ReadingType/1"/><content><espi:ReadingType>
<espi:flowDirection>1</espi:flowDirection><espi:intervalLength>{length}</espi:intervalLength>
<espi:powerOfTenMultiplier>0</espi:powerOfTenMultiplier><espi:uom>{unit}</espi:uom>
</espi:ReadingType></content></entry>
<entry><content><espi:IntervalBlock>{readings}</espi:IntervalBlock></content></entry>
</feed>
"""
# Midnight of 2025-01-01 in New York.
MIDNIGHT = 1735707600


def green_button(*values: int | str, unit: int = 72, length: int = 3600) -> bytes:
    """Write an hourly Green Button file from that midnight on."""
    readings = "\n".join(
        f"<espi:IntervalReading><espi:timePeriod><espi:duration>{length}</espi:duration>"
        f"<espi:start>{MIDNIGHT + length * index}</espi:start></espi:timePeriod>"
        f"<espi:value>{value}</espi:value></espi:IntervalReading>"
        for index, value in enumerate(values)
    )
    return GREEN_BUTTON.format(unit=unit, length=length, readings=readings).encode()


@pytest.fixture
def utility(tmp_path: Path) -> Iterator[SmallUtility]:
    """Return a utility with a tariff."""
    small = SmallUtility(tmp_path / "core")
    small.tariff()
    yield small
    small.store.close()


@pytest.fixture
def run(utility: SmallUtility, tmp_path: Path) -> Run:
    """Return the command `core import` beside the utility's open store, with a file of the given bytes."""

    def call(verb: str, data: bytes, *options: str) -> Result:
        file = tmp_path / "in put.file"
        file.write_bytes(data)
        arguments = ["import", verb, "--data", str(utility.data_dir), *options, str(file)]
        return CliRunner().invoke(main, arguments)

    return call


def books(utility: SmallUtility) -> list[int]:
    """Count what an import could have changed."""
    tables = ("customers", "accounts", "service_points", "meters", "payment_methods", "tariffs")
    return [*map(utility.count, (*tables, "interval_blocks", "import_findings")), utility.head()]


def test_customers_come_with_their_documents(utility: SmallUtility, run: Run) -> None:
    """Account and credential are published in the import's transaction; the answer says what to do next."""
    done = run("customers", customer_csv(customer_row()))
    assert done.exit_code == 0, done.output
    assert "1 customers (1 new), 1 accounts, 1 service points, 1 payment methods" in done.output
    assert "core import green-button" in done.output
    account = utility.documents("account")[""]
    assert (account.customer_name, account.balance_cents) == ("Customer 1", 0)
    assert [(method.method_id, method.status) for method in account.payment_methods] == [
        ("pm-1", "verified")
    ]
    assert [
        (point.meter_id, point.address, point.tariff_name) for point in account.service_points
    ] == [("M-1", "1 Mill Road", "Test plan")]
    ((key, credential),) = utility.documents("credential").items()
    lookup_key = utility.store.keys.lookup_key_bytes
    assert key == sign_in_key(lookup_key, "customer1@example.org")
    assert fits(credential.verifier, PASSWORD)


def test_tokens_stay_in_the_core(utility: SmallUtility) -> None:
    """No published document holds a payment token, and no key an e-mail address."""
    utility.customers(customer_row(method_token="tok_secret"))
    rows = utility.store.connection.execute("SELECT key, body FROM documents").fetchall()
    assert rows
    assert not [key for key, body in rows if b"tok_secret" in body or "@" in key]


def test_the_same_customers_again_publish_nothing(utility: SmallUtility) -> None:
    """A repeated file moves no document, though it names passwords."""
    rows = [customer_row(n, supplied_from="2025-01-01") for n in (1, 2)]
    utility.customers(*rows)
    before, verifiers = books(utility), utility.documents("credential")
    again = utility.customers(*rows)
    assert (again.customers, again.new_customers) == (2, 0)
    assert (books(utility), utility.documents("credential")) == (before, verifiers)


def test_an_empty_optional_cell_keeps_what_is_known(utility: SmallUtility) -> None:
    """A later file with fewer columns forgets neither dates nor a method's status nor a register."""
    full = customer_row(
        supplied_from="2025-01-01", initial_register_kwh="7", method_status="expired"
    )
    utility.customers(full)
    before = utility.head()
    short = customer_row()
    del short["password"]
    utility.customers(short)
    assert utility.head() == before
    assert utility.store.connection.execute(
        "SELECT s.supplied_from, m.initial_register_wh, p.status FROM service_points s, meters m, payment_methods p"
    ).fetchone() == ("2025-01-01", 7000, "expired")


def test_a_changed_address_withdraws_the_old_credential(utility: SmallUtility) -> None:
    """Nobody signs in any more with an address that was given up."""
    utility.customers(customer_row())
    (old,) = utility.documents("credential")
    utility.customers(customer_row(email="ada@example.org"))
    ((key, credential),) = utility.documents("credential").items()
    assert key != old
    assert fits(credential.verifier, PASSWORD)
    tombstone = utility.store.connection.execute(
        "SELECT body FROM documents WHERE kind = 'credential' AND key = ?", (old,)
    ).fetchone()
    assert tombstone == (None,)
    assert utility.documents("account")[""].email == "ada@example.org"


def test_a_new_first_account_moves_the_credential(utility: SmallUtility) -> None:
    """The credential belongs to the first of a customer's accounts: there is one, never two."""
    utility.customers(customer_row(2))
    first = customer_row(2, account_id="A-1", service_point_id="SP-1", meter_id="M-1")
    utility.customers(first | {"method_id": "pm-1"})
    assert utility.documents("credential", "A-2") == {}
    (credential,) = utility.documents("credential", "A-1").values()
    assert credential.account_ids == ["A-1", "A-2"]


def test_another_password_ends_old_sign_ins(utility: SmallUtility) -> None:
    """A file that names another password makes it the only one."""
    utility.customers(customer_row())
    utility.customers(customer_row(password="a new password"))
    (credential,) = utility.documents("credential").values()
    assert credential.credential_version == 2
    assert fits(credential.verifier, "a new password")
    assert not fits(credential.verifier, PASSWORD)


MOVED = [
    ({"customer_id": "C-2", "email": "b@example.org"}, "account_id", "customer_id C-1"),
    ({"account_id": "A-2", "method_id": "pm-2"}, "service_point_id", "account_id A-1"),
    ({"service_point_id": "SP-2"}, "meter_id", "service_point_id SP-1"),
    (
        {"account_id": "A-2", "service_point_id": "SP-2", "meter_id": "M-2"},
        "method_id",
        "account_id A-1",
    ),
    (
        {
            "customer_id": "C-2",
            "account_id": "A-2",
            "service_point_id": "SP-2",
            "meter_id": "M-2",
            "method_id": "pm-2",
        },
        "email",
        "in use by customer C-1",
    ),
    ({"meter_id": "M-2"}, "meter_id", "a meter exchange cannot be imported"),
]


@pytest.mark.parametrize(("changed", "column", "rule"), MOVED)
def test_nothing_moves_to_another_owner(
    utility: SmallUtility, run: Run, changed: dict[str, str], column: str, rule: str
) -> None:
    """Accounts, service points, meters, methods and addresses stay with their owner; the refusal names both."""
    utility.customers(customer_row())
    before = books(utility)
    done = run("customers", customer_csv(customer_row(3), customer_row(**changed)))
    assert done.exit_code == 1
    assert "nothing was imported" in done.output
    assert f"line 3, column {column}: " in done.output
    assert rule in done.output
    assert books(utility) == before


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("supplied_from", "2025-01-02", "bills were made from the day"),
        ("initial_register_kwh", "8", "bills were made from the register"),
        ("supplied_to", "2025-01-20", "must not be before 2025-02-01"),
    ],
)
def test_what_bills_were_made_of_stays(
    utility: SmallUtility, column: str, value: str, rule: str
) -> None:
    """Dates and registers under issued bills cannot be changed by a file."""
    row = customer_row(supplied_from="2025-01-01", initial_register_kwh="7", supplied_to="")
    utility.customers(row)
    utility.read("2025-01-01", "2025-01-31")
    utility.bill("2025-01-31")
    with pytest.raises(InvalidFile, match=rule) as caught:
        utility.customers(row | {column: value})
    assert [error.column for error in caught.value.errors] == [column]
    assert utility.customers(row | {"supplied_to": "2025-02-01"}).accounts == 1


def test_new_customers_need_passwords(utility: SmallUtility, run: Run, tmp_path: Path) -> None:
    """Without a password nothing comes in, unless there is a file for initial ones, which only its owner reads."""
    row = customer_row()
    del row["password"]
    before = books(utility)
    refused = run("customers", customer_csv(row))
    assert refused.exit_code == 1
    assert "--initial-passwords FILE" in refused.output
    assert books(utility) == before
    passwords = tmp_path / "passwords.csv"
    done = run("customers", customer_csv(row), "--initial-passwords", str(passwords), "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["initial_passwords"] == 1
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600
    header, line = passwords.read_text().splitlines()
    email, password = line.split(",")
    (credential,) = utility.documents("credential").values()
    assert (header, email) == ("email,password", "customer1@example.org")
    assert fits(credential.verifier, password)
    # Known customers keep theirs: no second file is needed, and the first is not touched.
    assert run("customers", customer_csv(row)).exit_code == 0
    second = customer_row(2)
    del second["password"]
    again = run("customers", customer_csv(second), "--initial-passwords", str(passwords))
    assert again.exit_code == 1
    assert "is there already" in again.output
    assert utility.count("customers") == 1


def test_a_refused_import_leaves_no_passwords(
    utility: SmallUtility, run: Run, tmp_path: Path
) -> None:
    """Passwords of customers who did not come in are not kept."""
    utility.customers(customer_row(1))
    row = customer_row(2, method_id="pm-1")
    del row["password"]
    passwords = tmp_path / "passwords.csv"
    done = run("customers", customer_csv(row), "--initial-passwords", str(passwords))
    assert done.exit_code == 1
    assert not passwords.exists()
    nowhere = tmp_path / "no folder" / "passwords.csv"
    lost = run(
        "customers",
        customer_csv(row | {"method_id": "pm-2"}),
        "--initial-passwords",
        str(nowhere),
    )
    assert lost.exit_code == 1
    assert "Nothing was imported" in lost.output


def test_a_broken_customer_file_changes_nothing(utility: SmallUtility, run: Run) -> None:
    """Of a file with one bad row nothing comes in; the message names line, column and rule."""
    before = books(utility)
    done = run("customers", customer_csv(customer_row(1), customer_row(2, tariff="r-99")))
    assert done.exit_code == 1
    assert f"line 3, column tariff: must be a tariff that was imported ({TARIFF})" in done.output
    assert books(utility) == before


def test_set_password(utility: SmallUtility, tmp_path: Path) -> None:
    """The command writes a new verifier from a file's first line, and refuses what it must."""
    utility.customers(customer_row())
    secret = tmp_path / "secret"

    def change(email: str, password: str) -> Result:
        secret.write_text(password + "\n")
        options = ["--data", str(utility.data_dir), "--password-file", str(secret), email]
        return CliRunner().invoke(main, ["set-password", *options])

    done = change("Customer1@Example.org", "battery staple")
    assert (done.exit_code, done.output) == (0, "customer C-1 has a new password\n")
    (credential,) = utility.documents("credential").values()
    assert fits(credential.verifier, "battery staple")
    assert credential.credential_version == 2
    assert "nothing was changed" in change("customer1@example.org", "short").output
    assert "no customer has the e-mail" in change("b@example.org", "long enough").output
    asked = CliRunner().invoke(
        main,
        ["set-password", "--data", str(utility.data_dir), "customer1@example.org"],
        input="asked for it\nasked for it\n",
    )
    assert asked.exit_code == 0
    assert "asked for it" not in asked.output
    (credential,) = utility.documents("credential").values()
    assert fits(credential.verifier, "asked for it")
    with utility.store.transaction() as tx, pytest.raises(UnknownCustomer):
        set_password(tx, "b@example.org", "verifier")


def test_tariffs_are_named_by_key(utility: SmallUtility, run: Run) -> None:
    """The answer gives the key that customer files name; the same file again changes nothing."""
    data = tariff_json(utility_id="North & South", plan_code="R 1")
    done = run("tariff", data, "--effective-from", "2025-05-01", "--json")
    assert json.loads(done.output) == {
        "tariff": "north-south-r-1",
        "effective_from": "2025-05-01",
    }
    before = books(utility)
    again = run("tariff", data, "--effective-from", "2025-05-01")
    assert "name it as north-south-r-1 in the column tariff" in again.output
    assert books(utility) == before


def test_a_renamed_plan_is_published_to_its_accounts(utility: SmallUtility) -> None:
    """The overview shows the plan's newest name without waiting for a bill."""
    utility.customers(customer_row())
    utility.tariff(since="2026-01-01", plan_name="Renamed plan")
    assert utility.documents("account")[""].service_points[0].tariff_name == "Renamed plan"


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"", ""),
        (b"{", ""),
        (b"[]", ""),
        (b"\xff\xfe", ""),
        (tariff_json(price="cheap"), "energy.periods[0].tiers[0].rate"),
        (tariff_json().replace(b'"periods"', b'"perods"'), "energy"),
    ],
)
def test_a_broken_tariff_names_the_field(
    utility: SmallUtility, run: Run, data: bytes, where: str
) -> None:
    """What is not a tariff is refused with the field and the rule."""
    before = books(utility)
    done = run("tariff", data)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit), done.exception
    assert f"Error: {where}" in done.output
    assert books(utility) == before


def test_a_tariff_in_another_currency_is_refused(utility: SmallUtility) -> None:
    """Dollars are not billed as euros."""
    with utility.store.transaction() as tx:
        change_utility(tx, Utility(timezone="America/New_York", currency="EUR"))
    with pytest.raises(TariffConflict, match="is in USD, the books are in EUR"):
        utility.tariff()


def test_readings_come_in_with_their_usage(utility: SmallUtility, run: Run) -> None:
    """Valid hours are stored and published; a bad one is kept out, told by line, and kept as a finding."""
    utility.customers(customer_row())
    values: list[int | str] = [500] * 48
    values[3] = -5
    data = green_button(*values)
    done = run("green-button", data, "--service-point", "SP-1")
    assert done.exit_code == 0, done.output
    assert "SP-1: 47 readings of 60 minutes on 2 days, 23.500 kWh" in done.output
    assert "negative_value at 2025-01-01T08:00:00+00:00" in done.output
    assert "kWh, 2025-01-01 to 2025-01-02" in done.output
    assert "Next: core bill --through 2025-01-02" in done.output
    usage = utility.documents("usage")["2025-01/SP-1"]
    assert [(day.usage_wh, day.complete) for day in usage.days] == [(11_500, False), (12_000, True)]
    assert usage.days[0].hours[3] is None
    before = books(utility)
    again = run("green-button", data, "--service-point", "SP-1", "--json")
    assert json.loads(again.output)["conflicts"] == []
    assert books(utility) == before


def test_a_stored_measurement_stands(utility: SmallUtility, run: Run) -> None:
    """Another value for a measured hour is reported as a conflict and changes nothing; a missing hour is filled."""
    utility.customers(customer_row())
    run("green-button", green_button(500, -1, *[500] * 22), "--service-point", "SP-1")
    done = run("green-button", green_button(501, 502, *[500] * 22), "--service-point", "SP-1")
    assert "conflict at 2025-01-01T05:00:00+00:00: 500 Wh are stored, the file says 501 Wh" in (
        done.output
    )
    day = utility.documents("usage")["2025-01/SP-1"].days[0]
    assert day.hours[:3] == [500, 502, 500]


BOMB = b"""<?xml version="1.0"?><!DOCTYPE feed [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>
<feed xmlns="http://www.w3.org/2005/Atom">&b;</feed>"""


@pytest.mark.parametrize(
    ("data", "service_point", "said"),
    [
        (green_button(500), "SP-9", "no service point SP-9; import its customer first"),
        (green_button(500, unit=38), "SP-1", "uom 38; only 72 (Wh) is read (unit)"),
        (green_button(500, length=7000), "SP-1", "(interval_length)"),
        (green_button(), "SP-1", "(no_readings)"),
        (green_button(-1, -2), "SP-1", "(no_readings)"),
        (BOMB, "SP-1", "document types and entities are not accepted (document_type)"),
        (b"", "SP-1", "the file is empty (not_xml)"),
        (b"<feed><entry></feed>", "SP-1", "line 1: mismatched tag (not_xml)"),
        (b"customer_id,name", "SP-1", "line 1: "),
        (green_button(*[1] * 96, length=900), "SP-1", "other intervals than the stored ones"),
    ],
)
def test_unusable_readings_change_nothing(
    utility: SmallUtility, run: Run, data: bytes, service_point: str, said: str
) -> None:
    """A file that cannot be used is refused with the reason."""
    utility.customers(customer_row())
    utility.read("2025-01-01", "2025-01-01")
    before = books(utility)
    done = run("green-button", data, "--service-point", service_point)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit), done.exception
    assert said in done.output
    assert books(utility) == before


def test_days_that_are_not_over_cannot_be_billed(utility: SmallUtility) -> None:
    """A day in the future is refused with the latest day that can be billed."""
    done = CliRunner().invoke(
        main, ["bill", "--data", str(utility.data_dir), "--through", "2999-01-01"]
    )
    assert done.exit_code == 2
    assert "2999-01-01 is not over yet" in done.output


def test_bill_says_what_it_did(utility: SmallUtility) -> None:
    """Statements, refusals and who waits, as text and as JSON; a refusal shows in the exit code."""
    utility.customers(*(customer_row(n, supplied_from="2025-01-01") for n in (1, 2, 3)))
    utility.read("2025-01-01", "2025-01-31")
    gap = [("2025-01-10", hour) for hour in range(7)]
    utility.read("2025-01-01", "2025-01-31", service_point_id="SP-2", missing=gap)
    bill = ["bill", "--data", str(utility.data_dir), "--through", "2025-01-31"]
    done = CliRunner().invoke(main, bill)
    assert done.exit_code == 1
    assert "A-1  2025-01-01 to 2025-02-01  new charges        84.40" in done.output
    assert "A-2  2025-01-01 to 2025-02-01  REFUSED: service point SP-2" in done.output
    assert "A-3  not yet: no whole day was read at service point SP-3" in done.output
    again = CliRunner().invoke(main, [*bill, "--account", "A-1", "--json"])
    assert again.exit_code == 0
    assert json.loads(again.output) == {
        "through": "2025-01-31",
        "issued": [],
        "refused": [],
        "waiting": [],
        "up_to_date": 1,
    }
    unknown = CliRunner().invoke(main, [*bill, "--account", "A-9"])
    assert (unknown.exit_code, "no account A-9" in unknown.output) == (1, True)
