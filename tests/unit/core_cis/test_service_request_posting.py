"""One open ticket for each kind, and the wish accepted last: the same in whatever order edges bring requests."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_sync.clock import SystemClock
from core_cis.acceptance_order import acceptance_order
from core_cis.messages import decide_message, record_message
from core_cis.service_request_posting import LATER_WISH
from core_cis.store import CoreStore, Transaction
from core_cis.tickets import close_ticket, list_tickets
from failover.intents import Intent, intent_id, message_fingerprint
from failover.message_bodies import ServiceKind, ServiceRequest, hash_body

START = datetime(2026, 3, 10, 15, tzinfo=UTC)
ACCOUNT = "A"


class Undo(Exception):
    """Rolls an example back."""


@contextmanager
def undone(store: CoreStore) -> Iterator[Transaction]:
    """Run an example in a transaction of which nothing stays."""
    with suppress(Undo), store.transaction(alone=True) as tx:
        yield tx
        raise Undo


class Standing(NamedTuple):
    """What the books say of a ticket: who stands under it, whose wish holds, and whether it is open."""

    messages: frozenset[str]
    wish: str
    is_open: bool


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreStore]:
    """Return a core with one account."""
    with CoreStore.open(tmp_path_factory.mktemp("core"), SystemClock()) as opened:
        with opened.transaction() as tx:
            tx.connection.execute(
                "INSERT INTO customers (customer_id, name, email, email_key, verifier) VALUES ('C', '', '', '', '')"
            )
            tx.connection.execute(
                "INSERT INTO accounts (account_id, customer_id) VALUES ('A', 'C')"
            )
        yield opened


def request(number: int, kind: ServiceKind, minute: int) -> Intent:
    """Record a request at one of two edges."""
    body = ServiceRequest(salt="s", kind=kind, text=f"wish {number}")
    return Intent(
        intent_id=intent_id(ACCOUNT, str(number)),
        fingerprint=message_fingerprint(
            account_id=ACCOUNT, type_="service", body_hash=hash_body(body)
        ),
        account_id=ACCOUNT,
        type="service",
        idempotency_key=str(number),
        accepted_at=START + timedelta(minutes=minute),
        edge_id=("east", "west")[number % 2],
        incarnation="journal",
        ordinal=number + 1,
        body_hash=hash_body(body),
        body=body,
    )


def take(tx: Transaction, intent: Intent) -> str:
    """Decide a request and write it down; tell what became of it."""
    decision = decide_message(tx, intent)
    assert decision.state == "posted"
    record_message(tx, intent, decision)
    return decision.reason


def stand(tx: Transaction) -> set[Standing]:
    """Read what the books say."""
    under = defaultdict(set)
    for number, message_id in tx.connection.execute("SELECT case_number, message_id FROM messages"):
        under[number].add(message_id)
    wishes = dict(
        tx.connection.execute("SELECT ticket_number, message_id FROM service_requests").fetchall()
    )
    return {
        Standing(
            frozenset(under[ticket.ticket_number]),
            wishes[ticket.ticket_number],
            ticket.closed_at is None,
        )
        for ticket in list_tickets(tx.connection, everything=True)
    }


def expected(before: list[Intent], after: list[Intent]) -> set[Standing]:
    """
    Reckon what the rule says, without books: kind by kind, in the order of acceptance.

    Tickets were closed when the first requests had come and the others had not.
    """
    found = set()
    for kind in get_args(ServiceKind):
        first = [each for each in before if kind_of(each) == kind]
        second = [each for each in after if kind_of(each) == kind]
        held = max((order_of(each) for each in first), default="")
        late = [each for each in second if order_of(each) < held]
        fresh = [each for each in second if order_of(each) > held]
        for requests, is_open in ((first + late, False), (fresh, True)):
            if requests:
                ids = frozenset(each.intent_id for each in requests)
                found.add(Standing(ids, max(requests, key=order_of).intent_id, is_open))
    return found


def order_of(intent: Intent) -> str:
    """Tell what orders a request among others."""
    return acceptance_order(intent, now=intent.accepted_at)


def kind_of(intent: Intent) -> str:
    """Tell the kind of a request."""
    assert isinstance(intent.body, ServiceRequest)
    return intent.body.kind


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Intent], list[Intent]]:
    """Draw requests in the order in which they arrive, before and after the open tickets are closed."""
    kinds: st.SearchStrategy[ServiceKind] = st.sampled_from(get_args(ServiceKind)[:2])
    said = draw(st.lists(st.tuples(kinds, st.integers(0, 5)), max_size=7))
    made = [request(number, kind, minute) for number, (kind, minute) in enumerate(said)]
    arriving = draw(st.permutations(made))
    closing = draw(st.integers(0, len(arriving)))
    return arriving[:closing], arriving[closing:]


@given(history=histories())
@settings(max_examples=60, deadline=None)
def test_books_are_the_same_in_any_order(
    store: CoreStore, history: tuple[list[Intent], list[Intent]]
) -> None:
    """Who stands under which ticket and whose wish holds follow from acceptance alone, of one instant too."""
    before, after = history
    with undone(store) as tx:
        for intent in before:
            take(tx, intent)
        for ticket in list_tickets(tx.connection):
            close_ticket(tx, ticket.ticket_number)
        for intent in after:
            take(tx, intent)
        assert stand(tx) == expected(before, after)


def test_what_is_told_says_whether_it_counts(store: CoreStore) -> None:
    """The first opens a ticket, a later one counts instead, an earlier one that comes late does not."""
    with undone(store) as tx:
        told = [take(tx, request(n, "move_out", minute)) for n, minute in enumerate((2, 4, 1, 3))]
        assert told == ["", LATER_WISH, "superseded", "superseded"]
        (ticket,) = list_tickets(tx.connection)
        assert ticket.wish is not None
        assert ticket.wish.text == "wish 1"
