"""``core receipt``: is a receipt that a customer shows genuine?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click
import msgspec

from core_cis.intent_records import IntentRecord, read_intent
from core_cis.options import data_option, json_option, open_known_store
from core_cis.receipt_keys import read_receipt_keys
from failover.intents import CORE_FINAL
from failover.signed_receipts import (
    FILE_BYTES_MAX,
    BadReceipt,
    KnownKey,
    ReceiptFacts,
    SignedReceipt,
    check_receipt,
)

Books = Literal["the_same", "decided_since", "not_arrived", "different", "not_asked"]

_BOOKS_TOLD: dict[Books, str] = {
    "the_same": "the books say the same",
    "decided_since": "the core has decided since",
    "not_arrived": "it has not arrived at the core",
    "different": "the books say something else",
    "not_asked": "the books were not asked",
}


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was found; ``fault`` names what is wrong, empty where nothing is.

    ``core_signed`` says that the core's own signature is in it. ``books`` is what the core knows of the payment, and
    ``state_now`` its state there.
    """

    genuine: bool
    fault: str = ""
    told: str = ""
    said_by: str = ""
    core_signed: bool = False
    books: Books = "not_asked"
    state_now: str = ""
    receipt: SignedReceipt | None = None


@click.group("receipt")
def receipt_group() -> None:
    """Check the signed receipts that customers download."""


@receipt_group.command("check")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@data_option
@click.option(
    "--keys",
    "key_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Public keys as `core receipt keys` writes them; no core is needed then, and no books are asked.",
)
@json_option
def check_command(
    file: Path,
    data_dir: Path,
    key_file: Path | None,
    as_json: bool,  # noqa: FBT001 - click's flag
) -> None:
    """
    Check a receipt: who signed it, whether anything was changed, and what the books say of it.

    Needs no network. Exits with 0 when it is genuine and the books do not differ, else with 1 and the fault's name.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from error
    if key_file is not None:
        verdict = _judged(content, _read_keys(key_file))
    else:
        with open_known_store(data_dir) as store, store.reading() as connection:
            verdict = _judged(content, read_receipt_keys(connection, store.keys.public_key))
            if verdict.receipt is not None:
                facts = verdict.receipt.facts
                verdict = _beside_books(verdict, facts, read_intent(connection, facts.payment_id))
    if as_json:
        click.echo(msgspec.json.encode(verdict))
    else:
        _print(verdict)
    raise SystemExit(0 if verdict.genuine else 1)


@receipt_group.command("keys")
@data_option
def keys_command(data_dir: Path) -> None:
    """Print the public keys that receipts are checked with, as JSON; nothing in it is secret."""
    with open_known_store(data_dir) as store, store.reading() as connection:
        keys = read_receipt_keys(connection, store.keys.public_key)
    click.echo(msgspec.json.format(msgspec.json.encode(keys), indent=2))


def _judged(content: bytes, keys: Sequence[KnownKey]) -> Verdict:
    try:
        receipt = check_receipt(content, keys)
    except BadReceipt as bad:
        return Verdict(genuine=False, fault=bad.fault, told=str(bad))
    return Verdict(
        genuine=True,
        said_by=receipt.facts.said_by,
        core_signed=receipt.facts.core is not None,
        receipt=receipt,
    )


def _beside_books(verdict: Verdict, facts: ReceiptFacts, found: IntentRecord | None) -> Verdict:
    """Lay a genuine receipt beside what the core knows of the same payment."""
    records = [] if found is None else [found, *found.others]
    record = next((one for one in records if one.fingerprint == facts.fingerprint), None)
    if record is None:
        # Another content under the same id: this one lost, or has not arrived.
        return msgspec.structs.replace(verdict, books="not_arrived")
    verdict = msgspec.structs.replace(verdict, state_now=record.state)
    ending = facts.account.rpartition(" ")[2]
    same = record.state == "failing" or (
        (record.amount, record.currency) == (facts.amount, facts.currency)
        and record.account_id.endswith(ending)
    )
    if not same or (facts.state in CORE_FINAL and record.state not in {facts.state, "failing"}):
        told = "the core's books say something else of this payment"
        return msgspec.structs.replace(
            verdict, genuine=False, books="different", fault="books_differ", told=told
        )
    books: Books = "the_same" if record.state == facts.state else "decided_since"
    return msgspec.structs.replace(verdict, books=books)


def _read_keys(path: Path) -> list[KnownKey]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[KnownKey])
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise click.ClickException(f"{path} does not hold keys of receipts: {error}") from error


def _print(verdict: Verdict) -> None:
    if verdict.receipt is not None:
        for line in verdict.receipt.text:
            click.echo(f"  {line}")
    if not verdict.genuine:
        click.echo(f"not genuine: {verdict.fault}: {verdict.told}")
        return
    signed = f"{verdict.said_by} and the core" if verdict.core_signed else verdict.said_by
    now = f" ({verdict.state_now})" if verdict.state_now else ""
    click.echo(f"genuine: signed by {signed}; {_BOOKS_TOLD[verdict.books]}{now}")
