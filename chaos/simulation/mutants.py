"""
Bugs planted on purpose, one at a time: each shows that simulation would have found it.

A mutant replaces one function of the product for as long as a block lasts. The hunt for it lives through worlds until
one of them goes wrong.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import msgspec

import cache_sync.replica
import core_cis.api.feed
import core_cis.domain.ledger
import core_cis.intake
import core_cis.payment_posting
import edge_portal.mode_keeper
import edge_portal.portal
import failover.journal_changes
import failover.standin
import failover.submission
from cache_sync.documents import ACCOUNT
from cache_sync.feed import FeedSource
from cache_sync.feed_client import Asker
from cache_sync.frames import Frame, sealed
from cache_sync.replica import ReplicaWriter
from chaos.simulation.plan import Kind
from chaos.simulation.run import live_through_seed
from core_cis.intake import Intake
from edge_portal.overlay import Overlaid
from edge_portal.session import Tokens
from failover.drain import Drain
from failover.intents import Outcome, Receipt, intent_id
from failover.journal import Journal
from failover.journal_reader import JournalReader
from failover.journal_schema import JournalEntry
from failover.peer_messages import CopyAnswer, CopyBatch
from failover.returning import Returning
from failover.witness import WitnessHolder

SEEDS_MAX: Final = 300


class Mutant(NamedTuple):
    """
    A planted bug: the checker that must notice, what it replaces, and by what, made from what was there.

    ``seed`` is where it was last seen to be caught: a hunt for it that begins there is short. ``only`` are the kinds of
    faults that its worlds have, where a bug shows in the wake of those alone; all that are drawn otherwise.
    """

    noticed_by: str
    owner: Any
    name: str
    make: Callable[[Any], Any]
    seed: int = 1
    only: tuple[Kind, ...] = ()


class Caught(NamedTuple):
    """How a mutant was caught: by which seed, after how many, and what was said; seed -1 when it was not."""

    mutant: str
    seed: int
    tried: int
    wrong: str


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Have a bug for as long as a block lasts."""
    before = vars(mutant.owner)[mutant.name]
    setattr(mutant.owner, mutant.name, mutant.make(before))
    try:
        yield
    finally:
        setattr(mutant.owner, mutant.name, before)


def hunt(name: str, *, first: int, seeds: int, seconds: float) -> Caught:
    """Live through worlds with a planted bug until the checker notices that is there for such bugs."""
    mutant = MUTANTS[name]
    with planted(mutant):
        for tried, seed in enumerate(range(first, first + seeds), 1):
            for sentence in live_through_seed(seed, seconds, mutant.only).wrong:
                if sentence.startswith(f"{mutant.noticed_by}:"):
                    return Caught(name, seed, tried, sentence)
    return Caught(name, -1, seeds, "")


# -- money ---------------------------------------------------------------------------------------------------------


def _forget_conflicts(before: Any) -> Any:
    def judge(self: Any, tx: Any, intent: Any, *, taken: bool) -> Any:
        del taken
        return before(self, tx, intent, taken=False)

    return judge


def _mint_ids(before: Any) -> Any:
    counted = iter(range(10**9))

    def draft(wish: Any) -> Any:
        fresh = intent_id(wish.account_id, f"{wish.idempotency_key} again {next(counted)}")
        return msgspec.structs.replace(before(wish), intent_id=fresh)

    return draft


def _post_a_cent_more(before: Any) -> Any:
    def record(tx: Any, decisions: Any) -> Any:
        return before(
            tx,
            [msgspec.structs.replace(one, amount_cents=one.amount_cents + 1) for one in decisions],
        )

    return record


def _book_a_cent_more(before: Any) -> Any:
    def payment(**named: Any) -> Any:
        return before(**named | {"amount_cents": named["amount_cents"] + 1})

    return payment


def _book_twice(before: Any) -> Any:
    def post(tx: Any, transactions: Any) -> Any:
        before(
            tx,
            [
                msgspec.structs.replace(one, idempotency_key=f"{one.idempotency_key} again")
                for one in transactions
            ],
        )
        return before(tx, transactions)

    return post


def _publish_nothing(_: Any) -> Any:
    def publish(tx: Any, account_ids: Any) -> None:
        del tx, account_ids

    return publish


def _limit_nothing(_: Any) -> Any:
    def exceeded(*_: Any, **__: Any) -> None:
        return None

    return exceeded


# -- what is durable ------------------------------------------------------------------------------------------------


def _keep_no_copy(_: Any) -> Any:
    async def copy(self: Any, caller: str, batch: CopyBatch) -> CopyAnswer:
        del caller
        ids = [intent.intent_id for intent in batch.intents]
        return CopyAnswer(incarnation=self._journal.incarnation, intent_ids=ids, refused=[])

    return copy


def _take_nothing_over(_: Any) -> Any:
    def taken_over(self: Any, limit: int) -> list[Any]:
        del self, limit
        return []

    return taken_over


def _bring_nothing_back(_: Any) -> Any:
    async def bring_all(self: Any, epoch: int, source: str) -> int:
        del self, epoch, source
        return 0

    return bring_all


def _cover_everything(before: Any) -> Any:
    def read_cover(connection: Any) -> Any:
        cover = before(connection)
        if cover is None:
            return None
        return msgspec.structs.replace(cover, heads=dict.fromkeys(cover.heads, 2**62))

    return read_cover


def _void_what_is_unknown(_: Any) -> Any:
    def nobody_reached(*offers: asyncio.Task[Any] | None) -> bool:
        return all(offer is None or offer.result() != "done" for offer in offers) and not any(
            offer is not None and isinstance(offer.result(), Outcome) for offer in offers
        )

    return nobody_reached


def _trust_the_failed_commit(_: Any) -> Any:
    def may_be_known(self: Any, id_: str, error: Any) -> bool:
        del self, id_, error
        return False

    return may_be_known


def _settle_by_id_alone(before: Any) -> Any:
    def settle(connection: Any, outcomes: Sequence[Outcome]) -> Any:
        known = dict(
            connection.execute("SELECT intent_id, fingerprint FROM intents WHERE state = 'offered'")
        )
        mixed = [
            msgspec.structs.replace(one, fingerprint=known.get(one.intent_id, one.fingerprint))
            for one in outcomes
        ]
        return before(connection, mixed)

    return settle


# -- what is shown --------------------------------------------------------------------------------------------------


def _pass_over_balances(before: Any) -> Any:
    """Pass over account documents at one edge, and do not notice that sums differ: only a customer would."""

    def apply(self: Any, pages: Sequence[Frame], asked: float) -> Any:
        if "west" not in str(self.path):
            return before(self, pages, asked)
        poorer = []
        for page in pages:
            rows = [row for row in page.rows if row.kind != ACCOUNT or row.seq % 3]
            poorer.append(sealed(msgspec.structs.replace(page, rows=rows, count=len(rows))))
        with planted(Mutant("", cache_sync.replica, "check_live", lambda _: lambda *_: None)):
            return before(self, poorer, asked)

    return apply


def _count_age_from_arrival(before: Any) -> Any:
    async def ask(self: Any, *question: Any) -> tuple[Frame, float]:
        frame, _ = await before(self, *question)
        return frame, self._clock.boot_seconds()

    return ask


def _close_time_late(before: Any) -> Any:
    async def page(self: Any, **question: Any) -> Frame:
        frame = await before(self, **question)
        await asyncio.sleep(0.05)
        closed = await self._time_source.closed(fresh=True)
        return sealed(msgspec.structs.replace(frame, as_of=closed.as_of, age_seconds=0.0))

    return page


def _count_twice(before: Any) -> Any:
    def overlay(documents: Any, recorded: Any, position: Any) -> Overlaid:
        recorded = list(recorded)
        overlaid = before(documents, recorded, position)
        posted = sum(one.amount_cents for one in recorded if one.state == "posted")
        counted: Overlaid = msgspec.structs.replace(
            overlaid, pending_cents=overlaid.pending_cents + posted
        )
        return counted

    return overlay


def _hide_what_waits(before: Any) -> Any:
    def receipts(self: Any, account_id: str, **named: Any) -> list[Receipt]:
        return [one for one in before(self, account_id, **named) if one.state != "accepted"]

    return receipts


def _forget_second_copies(_: Any) -> Any:
    def undecided(self: Any) -> str:
        del self
        return "checking"

    return undecided


def _never_behind(_: Any) -> Any:
    def is_behind(*_: Any) -> bool:
        return False

    return is_behind


def _keep_old_sessions(before: Any) -> Any:
    def check(self: Any, token: Any, *, now: Any, credential_of: Any) -> Any:
        claims = self._open(token or "")

        def as_it_was(key: str) -> Any:
            found = credential_of(key)
            if found is None or claims is None:
                return found
            return msgspec.structs.replace(found, credential_version=claims.credential_version)

        return before(self, token, now=now, credential_of=as_it_was)

    return check


def _stay_normal(before: Any) -> Any:
    def decide(state: Any, inputs: Any, settings: Any) -> Any:
        decided = before(state, inputs, settings)
        return msgspec.structs.replace(decided, mode="normal")

    return decide


MUTANTS: Final[dict[str, Mutant]] = {
    "one id is posted with every content": Mutant(
        "operators agree", Intake, "_judge", _forget_conflicts
    ),
    "every sending gets an id of its own": Mutant(
        "all settles", failover.submission, "draft_payment", _mint_ids
    ),
    "a cent more is posted": Mutant(
        "nothing comes from nowhere", core_cis.intake, "record_decisions", _post_a_cent_more
    ),
    "a payment is booked twice": Mutant(
        "each id at most once", core_cis.payment_posting, "post_new", _book_twice
    ),
    "the ledger gets a cent more than the payment": Mutant(
        "money is conserved", core_cis.domain.ledger, "payment", _book_a_cent_more
    ),
    "a posting does not publish the balance": Mutant(
        "documents equal the books", core_cis.payment_posting, "publish_accounts", _publish_nothing
    ),
    "limits are not looked at": Mutant("limits hold", failover.standin, "exceeded", _limit_nothing),
    "a witness confirms what it has not kept": Mutant(
        "copies are held", WitnessHolder, "copy", _keep_no_copy
    ),
    "nobody takes copies over": Mutant(
        "all settles", Drain, "_taken_over", _take_nothing_over, seed=27
    ),
    "nothing is brought back after a restore": Mutant(
        "nothing accepted is lost", Returning, "_bring_all", _bring_nothing_back
    ),
    "edges drop what no backup covers": Mutant(
        "nothing accepted is lost", core_cis.api.feed, "read_cover", _cover_everything
    ),
    "what may have arrived is called not taken": Mutant(
        "refusals hold", failover.submission, "_nobody_reached", _void_what_is_unknown, seed=50
    ),
    "a failed commit is taken for not done": Mutant(
        "refusals hold",
        Journal,
        "_may_be_known",
        _trust_the_failed_commit,
        seed=18,
        only=("edge disk fails",),
    ),
    "outcomes are matched by id alone": Mutant(
        "operators agree", failover.journal_changes, "settle", _settle_by_id_alone
    ),
    "an edge passes over some balances": Mutant(
        "one position, one balance", ReplicaWriter, "apply", _pass_over_balances
    ),
    "age counts from the answer's arrival": Mutant(
        "ages are true", Asker, "ask", _count_age_from_arrival
    ),
    "core time is closed after reading": Mutant(
        "a label contains its past", FeedSource, "page", _close_time_late
    ),
    "what is in the balance counts as pending too": Mutant(
        "edges equal the core", edge_portal.portal, "overlay", _count_twice
    ),
    "accepted payments are not shown": Mutant(
        "own writes are seen", JournalReader, "receipts", _hide_what_waits
    ),
    "a receipt forgets that it was accepted": Mutant(
        "states move forward", JournalEntry, "_undecided", _forget_second_copies
    ),
    "no page says that it is behind": Mutant(
        "nobody goes back", edge_portal.portal, "is_behind", _never_behind
    ),
    "a changed password ends no session": Mutant(
        "passwords end sessions", Tokens, "check", _keep_old_sessions
    ),
    "the mode is always normal": Mutant(
        "outages are told", edge_portal.mode_keeper, "decide", _stay_normal
    ),
}
