"""The core's commands: settings from the command line, sentences instead of tracebacks."""

from datetime import date
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from cache_sync.clock import SystemClock
from cache_sync.packed_bodies import unpack_body
from core_cis.__main__ import main
from core_cis.bookkeeping import post
from core_cis.domain import ledger
from core_cis.publishing import publish_account
from core_cis.store import CoreStore


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Return a core's folder with an account that owes 12.34, in a name with a space."""
    folder = tmp_path / "a core"
    with CoreStore.open(folder, SystemClock()) as store, store.transaction() as tx:
        tx.connection.execute(
            "INSERT INTO customers (customer_id, name, email, email_key, verifier) VALUES ('C', '', '', '', '')"
        )
        tx.connection.execute("INSERT INTO accounts (account_id, customer_id) VALUES ('A', 'C')")
        post(
            tx,
            ledger.adjustment(
                account_id="A",
                key="k",
                amount_cents=1234,
                value_date=date(2026, 1, 1),
                description="Opening balance",
            ),
        )
        publish_account(tx, "A")
    return folder


def invoke(*arguments: str) -> tuple[int, str, str]:
    """Run a command; return its exit code, output and errors."""
    result = CliRunner().invoke(main, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_changed_name_is_published(data_dir: Path) -> None:
    """A new name of the utility reaches every account's document."""
    code, out, _ = invoke("init", "--data", str(data_dir), "--utility-name", "Other Light")
    assert (code, out.split(":")[0]) == (0, "Other Light")
    with CoreStore.open(data_dir, SystemClock()) as store:
        (body,) = store.connection.execute("SELECT body FROM documents").fetchone()
    assert msgspec.json.decode(unpack_body(body))["utility_name"] == "Other Light"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("init", "--timezone", "Mars/Olympus"), "unknown time zone"),
        (("init", "--timezone", "UTC"), "cannot change"),
        (("init", "--retention-months", "0"), "0 is not in the range"),
        (("ledger", "A-nobody"), "no account A-nobody"),
        (("edges", "revoke", "north"), "no edge north"),
        (("edges", "add", "core", "--peer-url", "http://127.0.0.1:1"), "no name for an edge"),
        (("nothing",), "No such command"),
    ],
)
def test_refusals_are_sentences(data_dir: Path, arguments: tuple[str, ...], sentence: str) -> None:
    """What cannot be done ends with a non-zero code and one sentence, never a traceback."""
    data = () if arguments == ("nothing",) else ("--data", str(data_dir))
    code, _, err = invoke(*arguments, *data)
    assert code != 0
    assert sentence in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("bill", "--through", "2025-01-31"),
        ("ledger", "A"),
        ("reconcile",),
        ("reconcile", "--json"),
        ("set-password", "a@example.org", "--password-file", __file__),
        ("import", "green-button", "--service-point", "S", __file__),
        ("backup", "copy.db"),
        ("epoch", "raise"),
        ("edges", "list"),
        ("edges", "add", "east", "--peer-url", "http://127.0.0.1:1"),
        ("edges", "revoke", "east"),
    ],
)
def test_a_mistyped_folder_is_no_empty_core(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """What needs a core says that there is none: an empty one would be billed and reconciled with success."""
    missing = tmp_path / "mistyped"
    code, out, err = invoke(*arguments, "--data", str(missing))
    assert (code, out) == (2, "")
    assert f"there is no core in {missing}" in err
    assert not missing.exists()


def test_a_reconciliation_of_nothing_says_so(data_dir: Path) -> None:
    """A core without edges has no difference, and that proves nothing."""
    code, out, err = invoke("reconcile", "--data", str(data_dir))
    assert code == 0
    assert "result: equal" in out
    assert "no edge is registered" in err


def test_ledger_is_printed_and_told_in_json(data_dir: Path) -> None:
    """The same ledger for people and for programs."""
    code, text, _ = invoke("ledger", "A", "--data", str(data_dir))
    assert code == 0
    assert "Opening balance" in text
    assert text.splitlines()[-1].split() == ["balance", "12.34", "USD"]
    found = msgspec.json.decode(invoke("ledger", "A", "--json", "--data", str(data_dir))[1])
    assert (found["balance"], found["entries"][0]["amount"]) == (1234, 1234)


def test_edges_are_registered_and_listed(data_dir: Path, tmp_path: Path) -> None:
    """Add, configure, list, revoke: the life of an edge, without a secret on the terminal."""
    data = ("--data", str(data_dir))
    out = tmp_path / "east.json"
    assert invoke("edges", "add", "east", "--peer-url", "http://127.0.0.1:1", *data)[0] == 0
    configured = invoke(
        *(
            "edges",
            "config",
            "east",
            "--core-url",
            "http://127.0.0.1:3",
            "--peer",
            "west=http://127.0.0.1:4",
        ),
        *("--port", "1", "--peer-port", "2", "--out", str(out), *data),
    )
    assert configured[0] == 0
    assert msgspec.json.decode(out.read_bytes())["node_secret"] not in configured[1]
    assert invoke("edges", "revoke", "east", *data)[0] == 0
    (edge,) = msgspec.json.decode(invoke("edges", "list", "--json", *data)[1])
    assert (edge["node_id"], edge["status"], edge["configured"]) == ("east", "revoked", True)
    assert "revoked" in invoke("edges", "list", *data)[1]
    assert invoke("edges", "config", "east", "--core-url", "http://c", "--peer", "west")[0] != 0
