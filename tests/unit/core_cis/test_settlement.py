"""The processor's file beside the books: what both have is no difference, and everything else has a name."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from core_cis.charge_records import ChargeRow, RefundRow
from core_cis.errors import BadSettlement
from core_cis.settlement import (
    SettlementLine,
    charge_differences,
    read_settlement,
    settlement_differences,
)

NOW = datetime(2026, 3, 10, 15, tzinfo=UTC)
CHARGE = ChargeRow(
    intent_id="i1",
    fingerprint="f1",
    kind="captured",
    state="captured",
    amount_cents=5056,
    currency="USD",
    charge_id="ch_1",
    code="",
    begun_at=NOW,
)
REFUND = RefundRow(
    charge_id="ch_1",
    intent_id="i1",
    fingerprint="f1",
    amount_cents=5056,
    currency="USD",
    reason="account_closed",
    state="done",
    refund_id="re_1",
    begun_at=NOW,
)
LINE = SettlementLine(
    type="charge",
    id="ch_1",
    charge_id="ch_1",
    reference="i1",
    amount_cents=5056,
    currency="USD",
    created=int(NOW.timestamp()) + 5,
)
BACK = msgspec.structs.replace(LINE, type="refund", id="re_1", amount_cents=-5056)


def kinds(
    lines: list[SettlementLine],
    charges: list[ChargeRow] | None = None,
    refunds: list[RefundRow] | None = None,
) -> list[str]:
    """Name the differences."""
    known = [CHARGE] if charges is None else charges
    return [one.kind for one in settlement_differences(lines, known, refunds or [])]


def test_equal_books_have_no_difference() -> None:
    """A charge, and a charge with its refund."""
    assert kinds([LINE]) == []
    assert kinds([LINE, BACK], refunds=[REFUND]) == []


@pytest.mark.parametrize(
    ("lines", "charges", "refunds", "found"),
    [
        ([LINE], [], [], ["charge_without_payment"]),
        ([LINE, msgspec.structs.replace(LINE, id="ch_2")], [CHARGE], [], ["double_charge"]),
        (
            [msgspec.structs.replace(LINE, amount_cents=5057)],
            [CHARGE],
            [],
            ["settled_amount_differs"],
        ),
        (
            [msgspec.structs.replace(LINE, charge_id="ch_9", id="ch_9", reference="i9")],
            [CHARGE],
            [],
            ["charge_without_payment", "charge_not_settled"],
        ),
        ([LINE, BACK], [CHARGE], [], ["refund_without_reason"]),
        ([LINE], [CHARGE], [REFUND], ["refund_not_settled"]),
        (
            [LINE, msgspec.structs.replace(BACK, amount_cents=-5055)],
            [CHARGE],
            [REFUND],
            ["refund_amount_differs"],
        ),
    ],
)
def test_every_difference_has_a_name(
    lines: list[SettlementLine],
    charges: list[ChargeRow],
    refunds: list[RefundRow],
    found: list[str],
) -> None:
    """One cent, one line or one refund too much or too little is told."""
    assert kinds(lines, charges, refunds) == found


def test_what_is_newer_than_the_file_is_left_for_the_next() -> None:
    """A charge made after the file's newest line is not missed in it."""
    later = msgspec.structs.replace(CHARGE, charge_id="ch_2", begun_at=NOW + timedelta(hours=1))
    assert kinds([LINE], [CHARGE, later]) == []


def test_captured_money_is_posted_or_given_back() -> None:
    """Neither is a difference, and both are one."""
    pair = ("i1", "f1")

    def found(refunds: list[RefundRow], posted: set[tuple[str, str]]) -> list[str]:
        return [one.kind for one in charge_differences([CHARGE], refunds, posted)]

    assert found([], {pair}) == []
    assert found([REFUND], set()) == []
    assert found([], set()) == ["captured_not_posted"]
    assert found([REFUND], {pair}) == ["posted_and_refunded"]
    review = [msgspec.structs.replace(REFUND, state="review")]
    assert found(review, set()) == ["refund_under_review"]


def test_reads_csv_and_json_lines(tmp_path: Path) -> None:
    """The same lines in both forms."""
    as_json, as_csv = tmp_path / "a.jsonl", tmp_path / "a.csv"
    as_json.write_bytes(msgspec.json.encode(LINE) + b"\n\n" + msgspec.json.encode(BACK) + b"\n")
    names = LINE.__struct_fields__
    rows = [names, *([str(getattr(line, name)) for name in names] for line in (LINE, BACK))]
    as_csv.write_text("\ufeff" + "\r\n".join(",".join(row) for row in rows), encoding="utf-8")
    assert read_settlement(as_json) == read_settlement(as_csv) == [LINE, BACK]


@pytest.mark.parametrize(
    "text", ['{"type": "charge"}', "type,id\ncharge,ch_1", '{"type": "fee", "id": "x"}']
)
def test_what_is_no_settlement_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    """A line with something missing or unknown names itself."""
    path = tmp_path / "bad"
    path.write_text(text)
    with pytest.raises(BadSettlement, match="line"):
        read_settlement(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """And says so."""
    with pytest.raises(BadSettlement, match="cannot read"):
        read_settlement(tmp_path / "none")
