"""An account is judged when every edge has said, late enough, that nothing of it waits there."""

from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from core_cis.domain.drained import ANSWER_AFTER, EdgeWord, Wait, waits_for

UNTIL = datetime(2026, 2, 27, 6, tzinfo=UTC)
BILL_OUT = date(2026, 2, 1)
PAIR = ("intent", "print")
ANSWERED = EdgeWord(node_id="east", told_at=UNTIL + ANSWER_AFTER)
HOLDS = msgspec.structs.replace(ANSWERED, waiting={"A": frozenset({PAIR})})
EXPELLED = EdgeWord(node_id="east", told_at=None, expelled_on=BILL_OUT)


def waits(*words: EdgeWord, decided: frozenset[tuple[str, str]] = frozenset()) -> list[Wait]:
    """Ask about account A."""
    return waits_for(words, "A", bill_issued_on=BILL_OUT, judged_until=UNTIL, decided=decided)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        (ANSWERED, None),
        (msgspec.structs.replace(ANSWERED, told_at=None), "edge_silent"),
        (
            msgspec.structs.replace(ANSWERED, told_at=UNTIL + ANSWER_AFTER - timedelta(seconds=1)),
            "edge_not_past",
        ),
        (HOLDS, "payment_waiting"),
        (msgspec.structs.replace(ANSWERED, waiting={"B": frozenset({PAIR})}), None),
        (EXPELLED, "edge_expelled"),
        (msgspec.structs.replace(EXPELLED, expelled_on=BILL_OUT - timedelta(days=1)), None),
        (msgspec.structs.replace(HOLDS, expelled_on=BILL_OUT), "payment_waiting"),
        (
            msgspec.structs.replace(ANSWERED, told_at=UNTIL - timedelta(9), expelled_on=BILL_OUT),
            None,
        ),
    ],
)
def test_what_an_edge_keeps_waiting(word: EdgeWord, reason: str | None) -> None:
    """The reason names the edge; another edge that answered changes nothing."""
    other = msgspec.structs.replace(ANSWERED, node_id="west")
    told = [] if reason is None else [Wait(reason=reason, about="east")]  # type: ignore[arg-type]
    assert waits(other, word) == waits(word, other) == told


def test_what_was_decided_meanwhile_waits_no_more() -> None:
    """Its edge only has not heard so yet; one of two that is undecided still counts."""
    assert waits(HOLDS, decided=frozenset({PAIR})) == []
    two = msgspec.structs.replace(HOLDS, waiting={"A": frozenset({PAIR, ("other", "print")})})
    assert [each.reason for each in waits(two, decided=frozenset({PAIR}))] == ["payment_waiting"]


def test_every_edge_is_named() -> None:
    """So that an operator knows whom to bring back."""
    silent = [EdgeWord(node_id=name, told_at=None) for name in ("east", "north", "west")]
    assert [each.about for each in waits(*silent)] == ["east", "north", "west"]
