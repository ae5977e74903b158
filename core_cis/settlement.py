"""
The payment processor's settlement file beside the core's books, to the cent. Pure of the database.

A line is one movement of money at the processor: a charge, or a refund with a negative amount. The file is CSV with a
header line, or JSON lines, with ``type, id, charge_id, reference, amount_cents, currency, created``; ``reference`` is
the intent's id, ``created`` seconds since 1970.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from core_cis.charge_records import ChargeRow, RefundRow
from core_cis.errors import BadSettlement
from core_cis.reconciliation import Difference, Pair


class SettlementLine(msgspec.Struct, frozen=True, kw_only=True):
    """One movement of money at the processor; a refund's ``amount_cents`` is negative."""

    type: Literal["charge", "refund"]
    id: str
    charge_id: str
    reference: str
    amount_cents: int
    currency: str
    created: int


def read_settlement(path: Path) -> list[SettlementLine]:
    """
    Read a settlement file, CSV or JSON lines.

    Raises:
        BadSettlement: It cannot be read, or a line of it says something else; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettlement(f"cannot read {path}: {type(error).__name__}") from error
    is_json = text.lstrip().startswith("{")
    lines = [line for line in text.splitlines() if line.strip()]
    rows: Iterable[object] = lines if is_json else csv.DictReader(lines)
    found = []
    for number, row in enumerate(rows, start=1 if is_json else 2):
        try:
            if isinstance(row, str):
                found.append(msgspec.json.decode(row, type=SettlementLine))
            else:
                found.append(msgspec.convert(row, SettlementLine, strict=False))
        except msgspec.MsgspecError as error:
            raise BadSettlement(f"{path}, line {number}: {error}") from error
    return found


def charge_differences(
    charges: list[ChargeRow], refunds: list[RefundRow], posted: set[Pair]
) -> Iterator[Difference]:
    """
    Yield captured money that was neither posted nor is given back, or both, and what waits for a person.

    ``posted`` are the payments in the ledger, by id and fingerprint.
    """
    given_back = {refund.charge_id for refund in refunds}
    for charge in charges:
        is_posted = (charge.intent_id, charge.fingerprint) in posted
        is_back = charge.charge_id in given_back
        if charge.state == "captured" and not is_posted and not is_back:
            yield _of_charge(charge, "captured_not_posted", "charged, and not in the ledger")
        elif charge.state == "captured" and is_posted and is_back:
            yield _of_charge(charge, "posted_and_refunded", "in the ledger, and given back")
        elif charge.state == "review":
            yield _of_charge(
                charge, "charge_under_review", "nobody can tell whether it was charged"
            )
    for refund in refunds:
        if refund.state == "review":
            yield _of_refund(refund, "refund_under_review", "it could not be given back")


def settlement_differences(
    lines: list[SettlementLine], charges: list[ChargeRow], refunds: list[RefundRow]
) -> Iterator[Difference]:
    """
    Yield what the processor's file and the books do not both have, or have with another amount.

    What the core began after the file's newest line is left for the next file.
    """
    until = datetime.fromtimestamp(max((line.created for line in lines), default=0), UTC)
    known = {charge.charge_id: charge for charge in charges if charge.state == "captured"}
    back = {refund.charge_id: refund for refund in refunds}
    yield from _doubled(lines)
    settled = {line.charge_id: line for line in lines if line.type == "charge"}
    for charge_id, line in settled.items():
        charge = known.get(charge_id)
        if charge is None and charge_id not in back:
            yield _of_line(line, "charge_without_payment", "charged, and the core does not know it")
        elif charge is not None and (line.amount_cents, line.currency) != (
            charge.amount_cents,
            charge.currency,
        ):
            yield _of_charge(
                charge, "settled_amount_differs", "settled with another amount", line.amount_cents
            )
    for charge_id, charge in known.items():
        if charge_id not in settled and charge.begun_at <= until:
            yield _of_charge(charge, "charge_not_settled", "charged, and not in the file", 0)
    yield from _refund_differences(lines, back, until)


def _refund_differences(
    lines: list[SettlementLine], back: dict[str, RefundRow], until: datetime
) -> Iterator[Difference]:
    given: dict[str, int] = defaultdict(int)
    for line in lines:
        if line.type == "refund":
            given[line.charge_id] -= line.amount_cents
            if line.charge_id not in back:
                yield _of_line(
                    line, "refund_without_reason", "given back, and the core owed nothing"
                )
    for charge_id, refund in back.items():
        found = given.get(charge_id, 0)
        if found and found != refund.amount_cents:
            yield _of_refund(
                refund, "refund_amount_differs", "given back with another amount", found
            )
        is_in_time = refund.begun_at is not None and refund.begun_at <= until
        if not found and refund.state == "done" and is_in_time:
            yield _of_refund(refund, "refund_not_settled", "given back, and not in the file", 0)


def _doubled(lines: list[SettlementLine]) -> Iterator[Difference]:
    of: dict[str, list[SettlementLine]] = defaultdict(list)
    for line in lines:
        if line.type == "charge" and line.reference:
            of[line.reference].append(line)
    for of_one in of.values():
        if len(of_one) > 1:
            total = sum(line.amount_cents for line in of_one)
            names = ", ".join(line.id for line in of_one)
            yield Difference(
                kind="double_charge",
                detail=f"charged {len(of_one)} times: {names}",
                intent_id=of_one[0].reference,
                expected=of_one[0].amount_cents,
                found=total,
            )


def _of_line(line: SettlementLine, kind: str, detail: str) -> Difference:
    return Difference(
        kind=kind,
        detail=f"{line.id}: {detail}",
        intent_id=line.reference,
        expected=0,
        found=line.amount_cents,
    )


def _of_charge(charge: ChargeRow, kind: str, detail: str, found: int | None = None) -> Difference:
    name = charge.charge_id or charge.intent_id
    return Difference(
        kind=kind,
        detail=f"{name}: {detail}",
        intent_id=charge.intent_id,
        expected=charge.amount_cents,
        found=found,
    )


def _of_refund(refund: RefundRow, kind: str, detail: str, found: int | None = None) -> Difference:
    return Difference(
        kind=kind,
        detail=f"{refund.charge_id}: {detail}",
        intent_id=refund.intent_id,
        expected=refund.amount_cents,
        found=found,
    )
