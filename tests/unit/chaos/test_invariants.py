"""The invariants of a blackout: silent over a history in which all held, loud over each violation planted in it."""

from collections.abc import Callable
from datetime import date, timedelta

import msgspec
import pytest

from chaos.history import History, Ledger, LedgerEntry, Milestones, Reconciliation
from chaos.invariants import judge

replace = msgspec.structs.replace


def broken(history: History) -> set[str]:
    """Name the invariants that did not hold."""
    return {finding.id for finding in judge(history) if not finding.held}


def add_entry(history: History, account_id: str, entry: LedgerEntry) -> None:
    """Write into the core's final books, balance and all."""
    ledger = history.ledgers_after[account_id]
    history.ledgers_after[account_id] = Ledger(
        account_id=account_id,
        balance_cents=ledger.balance_cents + entry.amount_cents,
        entries=[*ledger.entries, entry],
    )


def reads_in(history: History, begin: float, end: float) -> list[int]:
    """Return the places of the reads sent between two seconds of the drill."""
    start = history.milestones.begun_at
    return [
        place
        for place, read in enumerate(history.reads)
        if begin <= (read.sent_at - start).total_seconds() < end
    ]


def post_twice(history: History) -> None:
    """The core's books hold a second posting of the same payment."""
    entry = history.ledgers_after["account-2"].entries[-1]
    add_entry(history, "account-2", entry)


def post_twice_as_another_transaction(history: History) -> None:
    """The same payment under another transaction id."""
    entry = history.ledgers_after["account-2"].entries[-1]
    add_entry(history, "account-2", replace(entry, transaction_id="another"))


def post_twice_without_intent(history: History) -> None:
    """A copy of the posting that names no payment."""
    entry = history.ledgers_after["account-2"].entries[-1]
    add_entry(history, "account-2", replace(entry, transaction_id="another", intent_id=None))


def post_out_of_nowhere(history: History) -> None:
    """A posting of a payment that the core does not know."""
    entry = history.ledgers_after["account-2"].entries[-1]
    add_entry(history, "account-2", replace(entry, transaction_id="x", intent_id="nobody's"))


def post_to_another_account(history: History) -> None:
    """A payment posted to somebody else."""
    entry = history.ledgers_after["account-2"].entries[-1]
    add_entry(
        history, "account-2", replace(entry, transaction_id="x", amount_cents=102, intent_id=None)
    )
    add_entry(history, "account-1", entry)


def lose_a_payment(history: History) -> None:
    """An accepted payment that never reached the core."""
    ledger = history.ledgers_after["account-3"]
    history.ledgers_after["account-3"] = replace(
        ledger, balance_cents=10_000, entries=ledger.entries[:-1]
    )
    history.core_intents["intent-3"] = replace(history.core_intents["intent-3"], state="")


def forget_a_receipt(history: History) -> None:
    """An edge that no longer knows a payment it accepted."""
    seen = next(s for s in history.sightings if s.intent_id == "intent-2")
    later = timedelta(seconds=5)
    history.sightings.append(
        replace(
            seen,
            state="",
            status=404,
            sent_at=seen.received_at + later,
            received_at=seen.received_at + later,
        )
    )


def disagree_at_the_end(history: History) -> None:
    """An edge that tells another end of a payment than the core."""
    history.final_sightings[0] = replace(history.final_sightings[0], state="accepted")


def go_back(history: History) -> None:
    """A receipt that was posted and is accepted again."""
    last = history.final_sightings[-1]
    later = last.received_at + timedelta(seconds=1)
    history.final_sightings.append(
        replace(last, state="accepted", sent_at=later, received_at=later)
    )


def date_at_posting(history: History) -> None:
    """A payment dated when it was posted instead of when it was accepted."""
    ledger = history.ledgers_after["account-2"]
    late = replace(ledger.entries[-1], value_date=date(2026, 11, 18))
    history.ledgers_after["account-2"] = replace(ledger, entries=[ledger.entries[0], late])


def move_money(history: History) -> None:
    """A balance that its entries do not explain."""
    ledger = history.ledgers_after["account-1"]
    history.ledgers_after["account-1"] = replace(ledger, balance_cents=ledger.balance_cents + 1)


def rewrite_the_past(history: History) -> None:
    """An entry of before that is gone."""
    ledger = history.ledgers_after["account-1"]
    history.ledgers_after["account-1"] = replace(ledger, entries=ledger.entries[1:])


def show_another_balance(history: History) -> None:
    """An edge that ends with another balance than the core."""
    history.final_accounts[0] = replace(history.final_accounts[0], balance_cents=1)


def keep_it_pending(history: History) -> None:
    """An edge that counts a posted payment twice: in the balance and as pending."""
    history.final_accounts[0] = replace(history.final_accounts[0], pending_cents=101)


def find_a_difference(history: History) -> None:
    """The operator's reconciliation found something."""
    history.reconciliation = Reconciliation(exit_code=1, differences=["intent-9: not posted"])


def fail_a_page(history: History) -> None:
    """One page in the outage was not answered."""
    place = reads_in(history, 15, 16)[0]
    history.reads[place] = replace(history.reads[place], status=503)


def claim_to_be_fresh(history: History) -> None:
    """An edge that shows age 0 over old data."""
    for place in reads_in(history, 15, 40):
        history.reads[place] = replace(history.reads[place], age_seconds=0.0)


def claim_to_be_a_little_fresh(history: History) -> None:
    """An edge whose ages are two seconds too young, always."""
    for place, read in enumerate(history.reads):
        age = max(0.0, (read.age_seconds or 0) - 2)
        history.reads[place] = replace(read, age_seconds=age)


def move_the_label(history: History) -> None:
    """An edge that shows the present as its as-of time, with an age to match."""
    for place in reads_in(history, 15, 40):
        read = history.reads[place]
        history.reads[place] = replace(read, as_of=read.sent_at, age_seconds=1.0)


def shift_the_label(history: History) -> None:
    """An edge whose as-of time is a second ahead of its data, always, with an age to match."""
    for place, read in enumerate(history.reads):
        assert read.as_of
        history.reads[place] = replace(
            read,
            as_of=read.as_of + timedelta(seconds=1),
            age_seconds=max(0.0, (read.age_seconds or 0) - 1),
        )


def freeze_the_age(history: History) -> None:
    """An edge that says 40 seconds throughout: never too young, but not growing."""
    for place in reads_in(history, 12, 40):
        history.reads[place] = replace(history.reads[place], age_seconds=40.0)


def label_old_data_as_new(history: History) -> None:
    """After the drain an edge still shows the balance of before, labelled with the present."""
    place = next(p for p in reads_in(history, 48, 50) if history.reads[p].account_id == "account-2")
    read = history.reads[place]
    history.reads[place] = replace(read, balance_cents=10_000, pending_cents=102)


def hide_own_payment(history: History) -> None:
    """A customer who has paid sees the full amount again at the other edge."""
    place = next(p for p in reads_in(history, 22, 30) if history.reads[p].account_id == "account-2")
    history.reads[place] = replace(history.reads[place], pending_cents=0)


def jump_back(history: History) -> None:
    """A page from an older position, without a word."""
    place = reads_in(history, 52, 53)[0]
    history.reads[place] = replace(history.reads[place], position="1.0.5")


def notice_late(history: History) -> None:
    """An edge that took five seconds to notice."""
    killed = history.milestones.broken_at
    assert killed
    soon = killed + timedelta(seconds=5)
    for place, sample in enumerate(history.samples):
        if sample.edge == "edge-2" and killed < sample.at < soon:
            history.samples[place] = replace(sample, mode="normal")
    for place, read in enumerate(history.reads):
        if read.edge == "edge-2" and killed < read.sent_at < soon:
            history.reads[place] = replace(read, mode="normal")


def never_return(history: History) -> None:
    """An edge that stayed degraded."""
    del history.milestones.normal_at["edge-2"]


def accept_nothing(history: History) -> None:
    """An edge that took no payment in the outage."""
    history.attempts = [one for one in history.attempts if one.intent_id != "intent-3"]


def hang_in_the_archive(history: History) -> None:
    """An archive read that waited for the dead core."""
    read = history.reads[reads_in(history, 20, 21)[0]]
    history.reads.append(
        replace(
            read,
            archive=True,
            status=503,
            problem="archive_unavailable",
            received_at=read.sent_at + timedelta(seconds=5),
        )
    )


def test_a_good_history_passes(history: History) -> None:
    """Nothing is reported where everything held."""
    assert [finding for finding in judge(history) if not finding.held] == []


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (post_twice, {"posted-once", "money-conserved", "balances-agree"}),
        (post_twice_as_another_transaction, {"posted-once", "money-conserved", "balances-agree"}),
        (post_twice_without_intent, {"money-conserved", "balances-agree"}),
        (post_out_of_nowhere, {"money-conserved", "balances-agree"}),
        (post_to_another_account, {"posted-once", "money-conserved"}),
        (lose_a_payment, {"nothing-lost"}),
        (forget_a_receipt, {"nothing-lost"}),
        (disagree_at_the_end, {"nothing-lost", "states-forward"}),
        (go_back, {"states-forward"}),
        (date_at_posting, {"dates-kept"}),
        (move_money, {"money-conserved"}),
        (rewrite_the_past, {"money-conserved"}),
        (show_another_balance, {"balances-agree"}),
        (keep_it_pending, {"balances-agree"}),
        (find_a_difference, {"reconciled"}),
        (fail_a_page, {"reads-answered"}),
        (claim_to_be_fresh, {"age-true", "age-grows"}),
        (claim_to_be_a_little_fresh, {"age-true"}),
        (move_the_label, {"as-of-still", "age-true"}),
        (shift_the_label, {"as-of-still"}),
        (freeze_the_age, {"age-grows"}),
        (label_old_data_as_new, {"balance-true"}),
        (hide_own_payment, {"reads-monotonic"}),
        (jump_back, {"reads-monotonic"}),
        (notice_late, {"degraded-in-time"}),
        (never_return, {"normal-returns"}),
        (accept_nothing, {"taken-in-outage"}),
        (hang_in_the_archive, {"archive-bounded"}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_planted_violation_is_found(
    history: History, plant: Callable[[History], None], expected: set[str]
) -> None:
    """Each way of going wrong breaks the invariants that it should, and says where."""
    plant(history)
    assert expected <= broken(history)
    assert all(finding.evidence for finding in judge(history) if not finding.held)


def test_an_empty_history_proves_nothing(history: History) -> None:
    """A drill in which nothing happened does not pass."""
    begun = Milestones(begun_at=history.milestones.begun_at)
    empty = History(edges=["edge-1"], timezone="UTC", milestones=begun)
    held = {finding.id for finding in judge(empty) if finding.held}
    assert held <= {"archive-bounded"}


def test_a_history_survives_being_stored(history: History) -> None:
    """A stored history can be judged again, with the same verdicts."""
    again = msgspec.json.decode(msgspec.json.encode(history), type=History)
    assert judge(again) == judge(history)
