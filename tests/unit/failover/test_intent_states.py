"""What may become of an intent: the table is total, the real journal runs by it, and the page tells of it."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_sync.sqlite import Connection, connect, write
from failover import journal_captures, journal_changes, journal_pruning
from failover.covers import Cover
from failover.errors import IllegalTransition
from failover.intent_states import ABSENT, CHARGE, COPY, MACHINES, OWN, UNDECIDED, Machine
from failover.intent_states_page import page
from failover.intents import Capture, Intent, Outcome
from failover.journal_pruning import PruneOrder
from failover.journal_schema import prepare
from failover.peer_messages import Source
from failover.standin import Limits

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 2, 12, tzinfo=UTC)
ROOT = Path(__file__).parents[3]
PAIRS = [
    (machine, state, event)
    for machine in MACHINES
    for state, event in itertools.product((ABSENT, *machine.states), machine.events)
]


@given(st.sampled_from(PAIRS))
def test_every_pair_of_state_and_event_is_told_of(pair: tuple[Machine[Any], str, str]) -> None:
    """It leads to a state of the machine, changes nothing, or is refused by name; never anything else."""
    machine, state, event = pair
    moved = state in machine.moves_from(event)
    try:
        after: str = machine.after(state, event)
    except IllegalTransition as refused:
        after = str(refused)
    refusal = f"{machine.name}: no {event} where it is {state}"
    assert after in ({machine.target(event)} if moved else {state, refusal})


def test_what_is_final_stays() -> None:
    """Whatever comes; every other state leads on to one that stays."""
    for machine, last in ((OWN, {"pruned", "void"}), (COPY, {"pruned"}), (CHARGE, {"ended"})):
        for state in machine.states:
            led = {move.target for move in machine.moves if state in move.sources} - {state}
            assert bool(led) == (state not in last), (machine.name, state)
    assert {"recorded", "offered"} == UNDECIDED


def test_every_state_can_be_reached() -> None:
    """By moves that each name who may, what is durable first, and what is answered then."""
    for machine in MACHINES:
        assert {move.target for move in machine.moves} == set(machine.states)
        assert all(move.who and move.durable and move.answer for move in machine.moves)


def test_unknown_words_are_refused() -> None:
    """Like any pair that cannot be."""
    for state, event in (("lost", "settle"), ("offered", "forget")):
        with pytest.raises(IllegalTransition):
            OWN.after(state, event)


def test_the_page_is_what_is_printed() -> None:
    """``python -m failover.intent_states_page > docs/intent-states.md`` makes it so."""
    assert (ROOT / "docs" / "intent-states.md").read_text(encoding="utf-8") == page()


# -- the real journal --------------------------------------------------------------------------------------------------


LIMITS = Limits()


class RealJournal:
    """One payment in a real file, which is to be captured here, and a copy of a sibling's: events happen to them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = self._open()

    def _open(self) -> Connection:
        connection = connect(self.path, synchronous="NORMAL")
        prepare(connection, node_id="east", new_incarnation="first")
        return connection

    def state(self, machine: Machine[Any]) -> str:
        """Tell the state that the file has."""
        sql = {
            OWN.name: "SELECT state FROM intents",
            COPY.name: "SELECT state FROM copies",
            CHARGE.name: "SELECT state FROM captures",
        }[machine.name]
        row = self.connection.execute(sql).fetchone()
        if row is None and machine is not CHARGE:
            id_ = "id" if machine is OWN else "copy"
            row = self.connection.execute(
                "SELECT 'pruned' FROM pruned_receipts WHERE intent_id = ?", (id_,)
            ).fetchone()
        return str(row[0]) if row else ABSENT

    def happen(self, machine: Machine[Any], event: str) -> None:
        """Have an event happen, as the journal does it. Raises `IllegalTransition`."""
        if event == "restart":
            self.connection.close()
            self.connection = self._open()
            return
        with write(self.connection) as connection:
            getattr(self, f"_{event}" if machine is not COPY else f"_copy_{event}")(connection)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def _record(self, connection: Connection, *, core: bool = False) -> None:
        draft = journal_changes.Draft(
            intent_id="id",
            fingerprint="fp",
            account_id="A-1",
            idempotency_key="k",
            amount_cents=100,
            currency="USD",
            method_id="M-1",
            method_verified=True,
            kind="captured",
            accepted_at=NOW,
            snapshot_age_seconds=1.0,
        )
        offers = journal_changes.Offers(witness=None, core=core, core_only_until=None)
        rules = journal_changes.Rules(
            limits=LIMITS, edge_share_known=True, outage_seconds=0.0, pending_max=10
        )
        journal_changes.record(connection, draft, offers, rules, _build)

    def _record_and_offer(self, connection: Connection) -> None:
        self._record(connection, core=True)

    def _offer(self, connection: Connection) -> None:
        journal_changes.offer(connection, 1, witness=None, core=True)

    def _confirm(self, connection: Connection) -> None:
        journal_changes.confirm(connection, [1], "west")

    def _void(self, connection: Connection) -> None:
        journal_changes.void(connection, 1)

    def _settle(self, connection: Connection, edge: str = "id", epoch: int = 1) -> None:
        journal_changes.settle(connection, [outcome(edge, epoch)])

    def _renew(self, connection: Connection, edge: str = "id") -> None:
        journal_changes.renew(connection, [outcome(edge, 2)])

    def _prune(self, connection: Connection, source: Source = "own") -> None:
        connection.execute("UPDATE captures SET state = 'ended'")
        connection.execute("UPDATE offers SET release = 'done'")
        for epoch in (1, 2):
            cover = Cover(mark="B", epoch=epoch, heads={"0": 1}, timezone="UTC")
            order = PruneOrder(
                cover=cover, shown={}, decided_before=LATER, owed_before=NOW, now=LATER
            )
            journal_pruning.prune_settled(connection, source, order, after=(0, 0), limit=9)

    def _copy_prune(self, connection: Connection) -> None:
        self._prune(connection, "copies")

    def _copy_keep(self, connection: Connection) -> None:
        journal_changes.store_copies(connection, [intent(1, "west", "copy")])

    def _copy_settle(self, connection: Connection) -> None:
        self._settle(connection, "copy")

    def _copy_renew(self, connection: Connection) -> None:
        self._renew(connection, "copy")

    def _attempt(self, connection: Connection) -> None:
        journal_captures.begin_capture(connection, 1, NOW)

    def _tell(self, connection: Connection) -> None:
        journal_captures.told_capture(connection, [1])

    def _answer(self, connection: Connection) -> None:
        nothing = Capture(state="nothing")
        journal_captures.end_capture(connection, 1, nothing, lambda signed: signed)


def intent(ordinal: int, edge: str = "east", id_: str = "id") -> Intent:
    """Make an intent as a journal holds it."""
    return Intent(
        intent_id=id_,
        fingerprint="fp",
        account_id="A-1",
        kind="captured" if id_ == "id" else "promise",
        amount_cents=100,
        currency="USD",
        method_id="M-1",
        idempotency_key="k",
        accepted_at=NOW,
        edge_id=edge,
        incarnation="first",
        ordinal=ordinal,
    )


def _build(draft: journal_changes.Draft, ordinal: int, not_after: datetime | None) -> Intent:
    del draft, not_after
    return intent(ordinal)


def outcome(id_: str, epoch: int) -> Outcome:
    """Make what the core decided."""
    return Outcome(
        intent_id=id_,
        fingerprint="fp",
        state="rejected",
        accepted_at=NOW,
        decided_at=NOW,
        epoch=epoch,
        shard="0",
        seq=1,
    )


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Lend a folder to all histories."""
    with TemporaryDirectory() as made:
        yield Path(made)


EVENTS = [(machine, event) for machine in (OWN, COPY) for event in machine.events]


@settings(max_examples=60)
@given(history=st.lists(st.sampled_from(EVENTS), max_size=12))
def test_the_journal_runs_by_the_table(
    folder: Path, history: list[tuple[Machine[Any], str]]
) -> None:
    """Any history of events leaves each row in the state that the table says, and refuses what it refuses."""
    path = folder / "journal.db"
    for left in folder.iterdir():
        left.unlink()
    real = RealJournal(path)
    expected: dict[str, str] = {OWN.name: ABSENT, COPY.name: ABSENT}
    try:
        for machine, event in history:
            state = expected[machine.name]
            if (machine, event) == (OWN, "restart") and state == ABSENT:
                continue
            if machine is OWN and event.startswith("record") and state == "void":
                # A row of its own: the voided one stays as it is.
                continue
            try:
                after = machine.after(state, event)
            except IllegalTransition:
                with pytest.raises(IllegalTransition):
                    real.happen(machine, event)
                continue
            real.happen(machine, event)
            expected[machine.name] = after
            assert real.state(OWN) == expected[OWN.name]
            assert real.state(COPY) == expected[COPY.name]
    finally:
        real.close()


def test_a_charge_runs_by_the_table(tmp_path: Path) -> None:
    """Attempted once, answered once; what cannot be is refused and changes nothing."""
    real = RealJournal(tmp_path / "journal.db")
    with pytest.raises(IllegalTransition):
        real.happen(CHARGE, "attempt")
    real.happen(OWN, "record_and_offer")
    state = real.state(CHARGE)
    assert state == CHARGE.target("add")
    for event in ("tell", "attempt", "attempt", "tell", "answer", "answer", "attempt", "tell"):
        state = CHARGE.after(state, event)
        real.happen(CHARGE, event)
        assert real.state(CHARGE) == state
    assert state == "ended"
    real.close()
