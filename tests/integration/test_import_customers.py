"""A utility's customers come in whole or not at all; the same file again changes and publishes nothing."""

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cache_sync.documents import sign_in_key
from cache_sync.packed_bodies import unpack_body
from core_cis.__main__ import main
from core_cis.credentials import fits
from core_cis.errors import InvalidFile, UnknownCustomer
from core_cis.importing.customers import set_password
from tests.integration.utility import (
    PASSWORD,
    TARIFF,
    SmallUtility,
    customer_csv,
    customer_row,
)


@pytest.fixture
def utility(tmp_path: Path) -> Iterator[SmallUtility]:
    """Return a utility with a tariff."""
    small = SmallUtility(tmp_path / "core")
    small.tariff()
    yield small
    small.store.close()


def test_customers_come_with_their_documents(utility: SmallUtility) -> None:
    """Account and credential are published in the import's transaction; the answer says what to do next."""
    done = utility.run_import("customers", customer_csv(customer_row()))
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
    assert not [key for key, body in rows if b"tok_secret" in unpack_body(body) or "@" in key]


def test_the_same_customers_again_publish_nothing(utility: SmallUtility) -> None:
    """A repeated file moves no document, though it names passwords."""
    rows = [customer_row(n, supplied_from="2025-01-01") for n in (1, 2)]
    utility.customers(*rows)
    before, verifiers = utility.books(), utility.documents("credential")
    again = utility.customers(*rows)
    assert (again.customers, again.new_customers) == (2, 0)
    assert (utility.books(), utility.documents("credential")) == (before, verifiers)


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
    utility: SmallUtility, changed: dict[str, str], column: str, rule: str
) -> None:
    """Accounts, service points, meters, methods and addresses stay with their owner; the refusal names both."""
    utility.customers(customer_row())
    before = utility.books()
    done = utility.run_import("customers", customer_csv(customer_row(3), customer_row(**changed)))
    assert done.exit_code == 1
    assert "nothing was imported" in done.output
    assert f"line 3, column {column}: " in done.output
    assert rule in done.output
    assert utility.books() == before


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


def test_new_customers_need_passwords(utility: SmallUtility, tmp_path: Path) -> None:
    """Without a password nothing comes in, unless there is a file for initial ones, which only its owner reads."""
    row = customer_row()
    del row["password"]
    before = utility.books()
    refused = utility.run_import("customers", customer_csv(row))
    assert refused.exit_code == 1
    assert "--initial-passwords FILE" in refused.output
    assert utility.books() == before
    passwords = tmp_path / "passwords.csv"
    done = utility.run_import(
        "customers", customer_csv(row), "--initial-passwords", str(passwords), "--json"
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["initial_passwords"] == 1
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600
    header, line = passwords.read_text().splitlines()
    email, password = line.split(",")
    (credential,) = utility.documents("credential").values()
    assert (header, email) == ("email,password", "customer1@example.org")
    assert fits(credential.verifier, password)
    # Known customers keep theirs: no second file is needed, and the first is not touched.
    assert utility.run_import("customers", customer_csv(row)).exit_code == 0
    second = customer_row(2)
    del second["password"]
    again = utility.run_import(
        "customers", customer_csv(second), "--initial-passwords", str(passwords)
    )
    assert again.exit_code == 1
    assert "is there already" in again.output
    assert utility.count("customers") == 1


def test_a_refused_import_leaves_no_passwords(utility: SmallUtility, tmp_path: Path) -> None:
    """Passwords of customers who did not come in are not kept."""
    utility.customers(customer_row(1))
    row = customer_row(2, method_id="pm-1")
    del row["password"]
    passwords = tmp_path / "passwords.csv"
    done = utility.run_import("customers", customer_csv(row), "--initial-passwords", str(passwords))
    assert done.exit_code == 1
    assert not passwords.exists()
    nowhere = tmp_path / "no folder" / "passwords.csv"
    lost = utility.run_import(
        "customers",
        customer_csv(row | {"method_id": "pm-2"}),
        "--initial-passwords",
        str(nowhere),
    )
    assert lost.exit_code == 1
    assert "Nothing was imported" in lost.output


def test_a_broken_customer_file_changes_nothing(utility: SmallUtility) -> None:
    """Of a file with one bad row nothing comes in; the message names line, column and rule."""
    before = utility.books()
    done = utility.run_import(
        "customers", customer_csv(customer_row(1), customer_row(2, tariff="r-99"))
    )
    assert done.exit_code == 1
    assert f"line 3, column tariff: must be a tariff that was imported ({TARIFF})" in done.output
    assert utility.books() == before


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


def test_set_password_without_a_terminal(utility: SmallUtility) -> None:
    """Where nobody can be asked, the command names the option instead."""
    utility.customers(customer_row())
    before = utility.books()
    command = ("set-password", "--data", str(utility.data_dir), "customer1@example.org")
    done = subprocess.run(
        [sys.executable, "-m", "core_cis", *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no terminal" in done.stderr
    assert "--password-file" in done.stderr
    assert "Warning" not in done.stderr
    assert utility.books() == before
