"""Sums that edges kept beside what the core decided: every planted difference in a dropped day is found."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from core_cis.reconcile import reconcile
from core_cis.reconciliation import Books, Decided, Journal, LedgerPayment, Payment, Report
from failover.intents import Intent, Outcome
from failover.pruned_sums import PrunedPart, PrunedSums, add_digests, digest_of, write_digest

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ZONE = "America/New_York"


def intent(number: int, *, edge: str = "east", at: datetime | None = None) -> Intent:
    """Make a payment as an edge recorded it."""
    return Intent(
        intent_id=f"id-{number}",
        fingerprint=f"fp-{number}",
        account_id="A-1",
        amount_cents=100 * number,
        currency="USD",
        method_id="M",
        idempotency_key=f"k{number}",
        accepted_at=at or NOON,
        edge_id=edge,
        incarnation=f"{edge}-0",
        ordinal=number,
    )


def decided(of: Intent, *, accepted_at: datetime | None = None) -> Decided:
    """Make what the inbox has of it."""
    outcome = Outcome(
        intent_id=of.intent_id,
        fingerprint=of.fingerprint,
        state="posted",
        accepted_at=accepted_at or of.accepted_at,
        decided_at=NOON,
        value_date=NOON.date(),
        epoch=1,
        shard="0",
        seq=of.ordinal,
    )
    return Decided(of, outcome)


def books(*items: Decided) -> Books:
    """Make books in which each payment is as it must be."""
    intents = [item.intent for item in items]
    return Books(
        decided=list(items),
        payments=[
            Payment(
                payment_id=each.intent_id,
                fingerprint=each.fingerprint,
                account_id="A-1",
                state="posted",
                amount_cents=each.amount_cents,
                source="intent",
                value_date=NOON.date(),
                transaction_id=each.ordinal,
            )
            for each in intents
        ],
        ledger=[
            LedgerPayment(
                transaction_id=number,
                source="intent",
                idempotency_key=each.intent_id,
                kind="payment",
                payment_id=each.intent_id,
                account_ids=("A-1",),
                amount_cents=each.amount_cents,
                value_date=NOON.date(),
            )
            for number, each in enumerate(intents)
        ],
        published={
            (each.intent_id, each.fingerprint): ("posted", each.amount_cents) for each in intents
        },
        marks=frozenset({"B-1"}),
    )


def sums_of(*intents: Intent, state: str = "posted", writer: str = "") -> PrunedSums:
    """Sum up as an edge does."""
    return PrunedSums(
        day=intents[0].accepted_at.date(),
        type="payment",
        state=state,
        count=len(intents),
        cents=sum(each.amount_cents for each in intents),
        digest=write_digest(add_digests(digest_of(each) for each in intents)),
        writer=writer,
        incarnation=f"{writer}-0" if writer else "",
    )


DAY = timedelta(days=1)
INTENTS = [
    intent(1),
    intent(2, at=NOON + DAY),
    # Still the same day where the utility is.
    intent(3, at=NOON + DAY + timedelta(hours=14)),
    intent(4, at=NOON + 2 * DAY),
]
SUMS = [sums_of(INTENTS[0]), sums_of(*INTENTS[1:3]), sums_of(INTENTS[3])]


def journal(
    sums: list[PrunedSums], *, mark: str = "B-1", copies: list[PrunedSums] | None = None
) -> Journal:
    """Make east's journal, which has dropped all but ordinal 5, a void attempt among it."""
    void = msgspec.structs.replace(sums_of(intent(9)), state="void")
    return Journal(
        node_id="east",
        incarnation="east-0",
        last_ordinal=5,
        pruned=PrunedPart(mark=mark, ordinals=[(1, 5)], sums=[*sums, void]),
        pruned_copies=PrunedPart(mark=mark, sums=copies or []),
    )


def report(held: Journal, known: Books) -> Report:
    """Reconcile."""
    return reconcile([held], known, timezone=ZONE)


def at_days() -> list[tuple[str, int, int]]:
    """Tell local day, number and cents that are expected."""
    return [("2026-03-01", 1, 100), ("2026-03-02", 2, 500), ("2026-03-03", 1, 400)]


def whole() -> Books:
    """Make the books that belong to the sums."""
    return books(*(decided(each) for each in INTENTS))


def test_what_is_equal_is_told_by_day() -> None:
    """Payments have their lines from the books, marked as in sums only; nothing is missing from the journal."""
    told = report(journal(SUMS), whole())
    assert (told.result, told.differences) == ("equal", [])
    assert [(str(day.day), day.count, day.amount) for day in told.pruned] == at_days()
    assert all(day.equal and day.states == {"posted": day.count} for day in told.pruned)
    assert [line.pruned for line in told.payments] == [True] * 4


def less(known: Books) -> Books:
    """Lose a payment from the books, everywhere."""
    return books(*known.decided[1:])


def other(known: Books) -> Books:
    """Have another payment of the same amount in the place of one."""
    first = known.decided[0]
    changed = msgspec.structs.replace(first.intent, intent_id="id-other", fingerprint="fp-other")
    return books(decided(changed), *known.decided[1:])


def more(known: Books) -> Books:
    """Have a cent more."""
    first = known.decided[0]
    changed = msgspec.structs.replace(first.intent, amount_cents=first.intent.amount_cents + 1)
    return books(decided(changed), *known.decided[1:])


def void_after_all(known: Books) -> Books:
    """Have decided an attempt that the edge never offered."""
    return books(*known.decided, decided(intent(5)))


@pytest.mark.parametrize(
    ("plant", "expected", "found"),
    [(less, 100, 0), (other, 100, 100), (more, 100, 101), (void_after_all, 100, 600)],
)
def test_a_planted_difference_in_a_dropped_day_is_found(
    plant: Callable[[Books], Books], expected: int, found: int
) -> None:
    """By its edge and day, to the cent, and even where number and sum are the same."""
    told = report(journal(SUMS), plant(whole()))
    (difference,) = [each for each in told.differences if each.kind == "pruned_differs"]
    assert told.result == "different"
    assert (difference.edge_id, difference.expected, difference.found) == ("east", expected, found)
    assert "2026-03-01" in difference.detail
    assert [day.equal for day in told.pruned] == [False, True, True]


def test_other_states_are_found_and_a_case_may_have_two() -> None:
    """The edge had been told of the case; the core has posted it since."""
    rejected = [msgspec.structs.replace(SUMS[0], state="rejected"), *SUMS[1:]]
    (difference,) = report(journal(rejected), whole()).differences
    assert "in other states" in difference.detail
    known = whole()
    first = known.decided[0]
    before = msgspec.structs.replace(first.outcome, state="dead_letter", value_date=None)
    case = Decided(first.intent, first.outcome, before)
    for state in ("dead_letter", "posted"):
        sums = [msgspec.structs.replace(SUMS[0], state=state), *SUMS[1:]]
        told = report(journal(sums), books(case, *known.decided[1:]))
        assert told.differences == []


def test_sums_that_do_not_tell_of_all_ordinals_are_found() -> None:
    """A journal that lost sums with its rows is not whole."""
    known = whole()
    told = report(journal(SUMS[1:]), books(*known.decided[1:]))
    assert "5 ordinals, and its sums tell of 4" in told.differences[-1].detail


def test_books_older_than_what_was_dropped_are_named() -> None:
    """Not silent: the mark is not in them."""
    told = report(journal(SUMS, mark="B-2"), less(whole()))
    kinds = {each.kind for each in told.differences}
    assert kinds == {"pruned_differs", "pruned_not_held"}


def test_a_record_that_a_restored_core_has_from_elsewhere_is_found() -> None:
    """The inbox has west's record of the same wish, decided when it was east's; the digest tells that it is the one."""
    known = whole()
    first = known.decided[0]
    at_west = msgspec.structs.replace(
        first.intent,
        edge_id="west",
        incarnation="west-0",
        ordinal=7,
        accepted_at=NOON + timedelta(minutes=5),
    )
    taken = decided(at_west, accepted_at=NOON)
    told = report(journal(SUMS), books(taken, *known.decided[1:]))
    assert [day.equal for day in told.pruned] == [True] * 3


def test_a_witness_drops_no_more_than_the_core_decided() -> None:
    """Which copies it held varies; more than there are it cannot have held."""
    known = whole()
    fine = msgspec.structs.replace(sums_of(intent(1), writer="east"), day=NOON.date())
    assert report(journal(SUMS, copies=[fine]), known).differences == []
    made_up = msgspec.structs.replace(fine, cents=101)
    (difference,) = report(journal(SUMS, copies=[made_up]), known).differences
    assert "copies of 1 payments of east" in difference.detail
