"""A made-up history of a core blackout in which everything held, for tests to break."""

from datetime import UTC, date, datetime, timedelta

import pytest

from chaos.history import (
    Attempt,
    CoreIntent,
    FaultFacts,
    FinalAccount,
    History,
    Ledger,
    LedgerEntry,
    Milestones,
    Read,
    Reconciliation,
    Sighting,
    StatusSample,
)

START = datetime(2026, 11, 17, 15, 0, tzinfo=UTC)
EDGES = ["edge-1", "edge-2"]
KILLED, RESTARTING, READY, NORMAL, END = 10.0, 40.0, 42.0, 50.0, 55.0
OPENING_CENTS = 10_000


def at(seconds: float) -> datetime:
    """Return the instant this long after the drill began."""
    return START + timedelta(seconds=seconds)


def opening(account_id: str) -> LedgerEntry:
    """Return the bill that an account starts with."""
    return LedgerEntry(
        transaction_id=f"bill-{account_id}",
        intent_id=None,
        amount_cents=OPENING_CENTS,
        value_date=date(2026, 11, 1),
        posted_at=at(-1000),
    )


class Payment:
    """One payment of the story: when it was asked, told and posted."""

    def __init__(self, number: int, edge: str, asked: float, posted: float) -> None:
        self.intent_id = f"intent-{number}"
        self.account_id = f"account-{number}"
        self.edge = edge
        self.asked = asked
        self.posted = posted
        self.amount_cents = 100 + number

    @property
    def entry(self) -> LedgerEntry:
        """Return its entry in the books."""
        return LedgerEntry(
            transaction_id=f"transaction-{self.intent_id}",
            intent_id=self.intent_id,
            amount_cents=-self.amount_cents,
            value_date=date(2026, 11, 17),
            posted_at=at(self.posted),
        )


PAYMENTS = [
    Payment(1, "edge-1", 5.0, 5.1),
    Payment(2, "edge-1", 20.0, 43.0),
    Payment(3, "edge-2", 25.0, 44.0),
]


def mode_at(seconds: float) -> str:
    """Tell which mode the edges of the story show."""
    if KILLED + 1 <= seconds < READY:
        return "degraded"
    return "recovering" if READY <= seconds < NORMAL else "normal"


def as_of_at(seconds: float) -> float:
    """Tell which as-of time the edges of the story show."""
    return KILLED - 0.2 if KILLED - 0.2 <= seconds < READY else seconds - 0.3


def page(payment: Payment, edge: str, sent: float) -> Read:
    """Make the page that this payment's customer sees at an edge."""
    as_of = as_of_at(sent)
    told = sent >= payment.asked + 0.1
    posted = payment.posted < as_of
    return Read(
        sent_at=at(sent),
        received_at=at(sent + 0.02),
        edge=edge,
        session=payment.account_id,
        account_id=payment.account_id,
        what="account",
        status=200,
        age_seconds=float(int(sent - as_of) + 1),
        as_of=at(as_of),
        mode=mode_at(sent),
        position=f"1.0.{int(as_of * 10) + 1000}",
        balance_cents=OPENING_CENTS - (payment.amount_cents if posted else 0),
        pending_cents=payment.amount_cents if told and not posted else 0,
        untouched=payment.account_id == "account-3" and sent > KILLED,
        own_cents=payment.amount_cents if told else 0,
    )


def sighting(payment: Payment, edge: str, sent: float) -> Sighting:
    """Make what the customer is told of the payment."""
    posted = sent > payment.posted
    return Sighting(
        sent_at=at(sent),
        received_at=at(sent + 0.05),
        edge=edge,
        session=payment.account_id,
        account_id=payment.account_id,
        intent_id=payment.intent_id,
        status=200,
        state="posted" if posted else "accepted",
        amount_cents=payment.amount_cents,
        value_date=date(2026, 11, 17) if posted else None,
    )


def attempt(payment: Payment) -> Attempt:
    """Make the request to pay."""
    live = payment.posted - payment.asked < 1
    return Attempt(
        sent_at=at(payment.asked),
        received_at=at(payment.asked + (0.2 if live else 0.08)),
        edge=payment.edge,
        session=payment.account_id,
        account_id=payment.account_id,
        intent_id=payment.intent_id,
        amount_cents=payment.amount_cents,
        status=201 if live else 202,
        state="posted" if live else "accepted",
    )


def books(*, paid: bool) -> dict[str, Ledger]:
    """Make the core's books, before or after the payments of the story."""
    return {
        payment.account_id: Ledger(
            account_id=payment.account_id,
            balance_cents=OPENING_CENTS - (payment.amount_cents if paid else 0),
            entries=[opening(payment.account_id), *([payment.entry] if paid else [])],
        )
        for payment in PAYMENTS
    }


def sample(edge: str, tick: float) -> StatusSample:
    """Make what an edge says of itself."""
    waiting = [one for one in PAYMENTS if one.edge == edge and one.asked <= tick < one.posted]
    return StatusSample(
        at=at(tick),
        edge=edge,
        mode=mode_at(tick),
        as_of=at(as_of_at(tick)),
        lag_seconds=tick - as_of_at(tick),
        pending=len(waiting),
        breaker="open" if mode_at(tick) == "degraded" else "closed",
    )


def decided(payment: Payment) -> CoreIntent:
    """Make what the core says of a payment."""
    return CoreIntent(
        intent_id=payment.intent_id,
        state="posted",
        account_id=payment.account_id,
        amount_cents=payment.amount_cents,
    )


def shown(edge: str, ledger: Ledger) -> FinalAccount:
    """Make what an edge shows at the end."""
    return FinalAccount(
        edge=edge,
        account_id=ledger.account_id,
        status=200,
        balance_cents=ledger.balance_cents,
        pending_cents=0,
    )


@pytest.fixture
def history() -> History:
    """Return a history in which every invariant holds."""
    ticks = [half / 2 for half in range(1, int(END) * 2)]
    after = books(paid=True)
    return History(
        edges=EDGES,
        timezone="America/New_York",
        milestones=Milestones(
            begun_at=at(0),
            broken_from=at(KILLED - 0.01),
            broken_at=at(KILLED),
            healing_at=at(RESTARTING),
            healed_at=at(READY),
            drained_at=at(46),
            normal_at=dict.fromkeys(EDGES, at(NORMAL)),
            ended_at=at(END),
        ),
        fault=FaultFacts(
            core_silent=True,
            without_core=EDGES,
            began="Core killed",
            healing="Core started again",
            healed="Core answers",
        ),
        reads=[
            page(payment, EDGES[int(tick * 2) % 2], tick + number / 10)
            for tick in ticks
            for number, payment in enumerate(PAYMENTS)
            if payment.account_id != "account-3" or tick > KILLED
        ],
        attempts=[attempt(payment) for payment in PAYMENTS],
        sightings=[
            sighting(payment, edge, payment.asked + 0.1 + later)
            for payment in PAYMENTS
            for later, edge in ((0.0, "edge-1"), (0.5, "edge-2"), (25.0, "edge-1"))
        ],
        samples=[sample(edge, tick) for tick in ticks for edge in EDGES],
        ledgers_before=books(paid=False),
        ledgers_after=after,
        core_intents={payment.intent_id: decided(payment) for payment in PAYMENTS},
        final_accounts=[shown(edge, ledger) for edge in EDGES for ledger in after.values()],
        final_sightings=[
            sighting(payment, edge, END + 1) for payment in PAYMENTS for edge in EDGES
        ],
        reconciliation=Reconciliation(exit_code=0),
    )
